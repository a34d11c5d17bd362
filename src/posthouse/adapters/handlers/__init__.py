"""Callback handlers in Python: loaded and called in limited processes of their own, never in the one that serves."""
