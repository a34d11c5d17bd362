"""API listeners: events of requests and their answers, by rules, without a line in the handlers.

    from posthouse_sdk.listening import AsgiListener, Listener, Rule, Spool

    listener = Listener(
        [Rule("POST", "/orders", "order_create", status=201, subject="shop:{answer.shop}", key="order:{answer.id}")],
        Spool("/var/lib/shop/events.spool"),
    )
    app.add_middleware(AsgiListener, listener=listener)

`POST /orders` that is answered 201 becomes an event `order_create` with the answer's body, published at least once. The
answer goes out as it is, whatever becomes of its event.
"""

from posthouse_sdk.listening.asgi import AsgiListener
from posthouse_sdk.listening.gauges import Gauges
from posthouse_sdk.listening.listener import Listener
from posthouse_sdk.listening.memory import Memory
from posthouse_sdk.listening.misses import Miss
from posthouse_sdk.listening.outbox import Outbox
from posthouse_sdk.listening.rules import Rule
from posthouse_sdk.listening.spool import Spool
from posthouse_sdk.listening.wsgi import WsgiListener

__all__ = ["AsgiListener", "Gauges", "Listener", "Memory", "Miss", "Outbox", "Rule", "Spool", "WsgiListener"]
