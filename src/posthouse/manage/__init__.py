"""Use cases of the API, the command line and the console: who may do it, is it well-formed, and do it.

An app's key sees that app and nothing else: whatever belongs to another one is not found, never forbidden.
"""
