"""Requests that may take long to be written, written in limited processes."""
