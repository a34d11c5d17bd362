"""Handlers by type for the events of a profile: each once, and confirmed as the platform has it."""

from __future__ import annotations

from typing import Any

import pytest
from tests.profiling import NOW, sent_by

from posthouse_sdk import ProfileReceiver, ReceivedEvent, Receiver, ReceiverError, RetryLater
from posthouse_sdk.receiving import MemoryReplayStore, ignore, refuse

KEYS = {"encrypt_key": "test key", "verification_token": "tok"}


class Shop:
    """A receiver of Feishu's events, whose handler does what it is told."""

    def __init__(self, **options: Any) -> None:
        self.handled: list[ReceivedEvent[Any]] = []
        self.fault: Exception | None = None
        self.platform = ProfileReceiver("feishu", KEYS, clock=lambda: NOW)
        self.receiver = Receiver(None, store=MemoryReplayStore(), **({"fallback": refuse} | options))
        self.receiver.on("order.created")(self.created)

    def created(self, event: ReceivedEvent[Any]) -> None:
        if self.fault is not None:
            raise self.fault
        self.handled.append(event)

    def came(self) -> Any:
        return self.platform.receive(*sent_by("feishu", KEYS))


def test_an_event_is_handled_once_and_confirmed_each_time() -> None:
    shop = Shop()
    for _ in range(2):
        answer = shop.receiver.respond(shop.came())
        assert (answer.status, answer.body, dict(answer.headers)) == (200, b"{}", {"Content-Type": "application/json"})
    (event,) = shop.handled
    assert event.data["order"] == "A-1"


async def test_the_same_on_an_event_loop() -> None:
    shop = Shop()
    assert (await shop.receiver.arespond(shop.came())).body == b"{}"
    assert len(shop.handled) == 1


@pytest.mark.parametrize(("fault", "status"), [(RetryLater(7), 503), (ValueError("no"), 500)])
def test_what_is_not_handled_is_not_confirmed_and_may_come_again(fault: Exception, status: int) -> None:
    shop = Shop()
    shop.fault = fault
    assert shop.receiver.respond(shop.came()).status == status
    shop.fault = None
    assert shop.receiver.respond(shop.came()).status == 200
    assert len(shop.handled) == 1


def test_a_handshake_is_answered_without_a_handler() -> None:
    meta = ProfileReceiver("meta", {"app_secret": "s", "verify_token": "t"})
    found = meta.receive("GET", "/?hub.mode=subscribe&hub.challenge=42&hub.verify_token=t", {}, b"")
    answer = Receiver(None, fallback=refuse).respond(found)
    assert (answer.status, answer.body) == (200, b"42")


def test_without_secrets_nothing_else_comes_in() -> None:
    receiver = Receiver(None, fallback=ignore)
    with pytest.raises(ReceiverError, match="no secret here"):
        receiver.handle(b"{}", {})
    with pytest.raises(ReceiverError, match="no fallback"):
        Receiver(None).respond(Shop().came())
