"""The HTTP API: publishing as bare ASGI, all else on FastAPI; see `app.build_app`."""
