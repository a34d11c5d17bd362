"""What this shop does with the answers of its warehouses. The server calls it:

    posthouse serve --callbacks examples.callbacks.hooks

It is ordinary code with a database of its own. It may be called again for the same answer, so it writes what must happen once
under the callback's idempotency key.
"""

from __future__ import annotations

import os
import sqlite3

import posthouse

shop = sqlite3.connect(os.environ.get("SHOP_DATABASE", "shop.db"), timeout=30)
shop.execute("CREATE TABLE IF NOT EXISTS parcels (once TEXT PRIMARY KEY, order_id INTEGER, parcel TEXT)")


@posthouse.on_callback("order.paid")
def packed(callback: posthouse.Callback) -> list[posthouse.Action]:
    """A warehouse has answered to a paid order: in XML, as warehouses do."""
    xml = None if callback.response is None else callback.response.xml
    if callback.outcome != "delivered" or xml is None:
        return [posthouse.Notify(f"order {callback.event.data['order']} was not packed: {callback.reason}")]
    order, parcel = callback.event.data["order"], xml["receipt"]["parcel"]
    with shop:
        shop.execute(
            "INSERT INTO parcels VALUES (?, ?, ?) ON CONFLICT DO NOTHING", (callback.idempotency_key, order, parcel)
        )
    print(f"order {order} is in parcel {parcel}")
    return [
        posthouse.Emit("order.packed", {"order": order, "parcel": parcel}),
        posthouse.SetMetadata({"last_parcel": parcel}),
    ]


@posthouse.on_callback("order.packed")
async def told(callback: posthouse.Callback) -> None:
    """Somebody has heard of the parcel: their answer is JSON."""
    assert callback.response is not None
    print(f"{callback.endpoint.uid} says {callback.response.json}")
