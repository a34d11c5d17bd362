"""Replay stores (`posthouse_sdk.receiving.store`): memory, Redis, Django's cache, a database by DB-API or SQLAlchemy.

Each in a module of its own, which imports what it needs and nothing else.
"""
