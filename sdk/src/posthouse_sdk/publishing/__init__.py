"""Publishing: from a call in the platform's code to the server's 202.

event        what is published, and how values become JSON
exchange     pure: an event as a request, an answer as a verdict, how long until the next try
http1        pure: the bytes of HTTP/1.1
connections  sockets, for threads         streams   the same on an event loop
buffer       pure: what waits to be sent in the background, within its bounds
background   the thread that sends it     background_async   the task that does
hub          what both clients share      client, async_client   `Posthouse`, `AsyncPosthouse`
fires        the decorator                event_types, schema   classes as event types
recording    the fake hub of tests
"""
