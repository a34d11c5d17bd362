"""One attempt: sent, decided, recorded; and faults of our own cost nobody an attempt."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec
import pytest
from tests.expressing import FAILED, FakeExpressions
from tests.fakes import (
    EPOCH,
    FakeClock,
    FakeTelemetry,
    FakeTransport,
    ScriptedStore,
    Sent,
    a_delivery,
    an_endpoint,
    an_event,
    answer,
    confirm,
    failure,
    until,
    virtual_time,
)

from posthouse.adapters.memory import MemoryDatabase
from posthouse.domain.authentication import OAuth2Auth
from posthouse.domain.circuit import CircuitPolicy
from posthouse.domain.delivery import (
    AttemptOutcome,
    Delivery,
    DeliveryClass,
    Fate,
)
from posthouse.domain.endpoint import Batch, Endpoint
from posthouse.domain.errors import NotOwner, PosthouseError
from posthouse.domain.exchange import Fault, Result
from posthouse.domain.filters import OnFilterError
from posthouse.domain.grant import Shrinkage
from posthouse.domain.limits import RESPONSE_STORED_BYTES_MAX
from posthouse.domain.named_keys import NamedKeys
from posthouse.domain.retry import Delays, Retry, RetrySettings
from posthouse.ports.expressions import NO_EXPRESSIONS, Expressions
from posthouse.ports.writing import WRITTEN_HERE, Writer
from posthouse.send.outcomes import Outcomes
from posthouse.send.peer import Peer
from posthouse.send.reactions import Reactions
from posthouse.send.sender import Sender
from posthouse.settle.chains import Chains
from posthouse.settle.journal import Journal
from posthouse.settle.progress import Progress

OWNER = b"o" * 16
ENDPOINT = an_endpoint(retry=Retry((60.0,), 0.0))


class Desk:
    def __init__(
        self,
        reply: Callable[[Sent], Awaitable[Result]] | None = None,
        expressions: Expressions = NO_EXPRESSIONS,
        writer: Writer = WRITTEN_HERE,
    ) -> None:
        self.clock = FakeClock(draw=0.5)
        self.database = MemoryDatabase(clock=self.clock.now, partitions=2)
        self.store = ScriptedStore(self.database)
        self.progress = Progress()
        self.progress.take(0)
        self.epochs = {0: 1}
        self.valid = True
        self.telemetry = FakeTelemetry()
        self.transport = FakeTransport(reply)
        self.disabled: list[Peer] = []
        self.journal = Journal(
            self.store,
            self.clock,
            self.telemetry,
            self.progress,
            owner=OWNER,
            epochs=self.epochs,
            hold=lambda *_: None,
            written=lambda *_: None,
            room=lambda: None,
        )
        self.outcomes = Outcomes(
            self.journal,
            self.store,
            self.clock,
            self.telemetry,
            Reactions(expressions, Chains(self.clock)),
            owner=OWNER,
            disabled=self.disabled.append,
        )
        self.sender = Sender(
            self.transport,
            self.outcomes,
            self.journal,
            self.store,
            self.clock,
            may_write=lambda: self.valid,
            expressions=expressions,
            writer=writer,
        )

    def dispatched(self, **fields: object) -> Delivery:
        delivery = a_delivery(**fields)  # type: ignore[arg-type]
        if delivery.fresh:
            self.progress.opened(delivery.event, 1)
        return delivery

    async def written(self) -> None:
        task = asyncio.create_task(self.journal.run())
        await self.journal.flush()
        task.cancel()


def replying(result: Result) -> Callable[[Sent], Awaitable[Result]]:
    async def reply(_: Sent) -> Result:
        return result

    return reply


@pytest.mark.parametrize(
    ("event_type", "number", "seconds"),
    [("order.created", 1, 7.0), ("order.created", 2, None), ("order.paid", 1, 9.0), ("shop.opened", 1, 60.0)],
)
def test_the_type_of_an_event_says_when_it_comes_again(event_type: str, number: int, seconds: float | None) -> None:
    by_type = {"order.*": Delays((9.0, 9.0)), "order.created": Delays((7.0,))}
    retry = RetrySettings(schedule=(60.0,), jitter=0.0, by_type=by_type).policy()

    @virtual_time
    async def attempts() -> None:
        desk = Desk(replying(answer(500)))
        delivery = desk.dispatched(event=an_event(1, type=event_type), number=number)
        await desk.sender.attempt(Peer(an_endpoint(retry=retry)), [delivery])
        await desk.written()
        (batch,) = desk.store.written
        assert [row.due_at for row in batch.owed] == ([] if seconds is None else [EPOCH + seconds])
        assert batch.attempts[0].outcome is (AttemptOutcome.GAVE_UP if seconds is None else AttemptOutcome.FAILED)

    attempts()


@virtual_time
async def test_a_confirmed_delivery_is_one_attempt_and_no_row() -> None:
    async def reply(_: Sent) -> Result:
        await asyncio.sleep(0.25)
        return answer(201, (b"x-a", b"1"), body=b"thanks" * 10_000)

    desk = Desk(reply)
    delivery = desk.dispatched()
    await desk.sender.attempt(Peer(ENDPOINT), [delivery])
    await desk.written()
    (batch,) = desk.store.written
    (attempt,) = batch.attempts
    assert (attempt.outcome, attempt.reason, attempt.status) == (AttemptOutcome.DELIVERED, "confirmed", 201)
    assert (attempt.number, attempt.revision, attempt.url, attempt.sent) == (1, 1, ENDPOINT.url, True)
    assert attempt.key == delivery.key
    assert attempt.started_at == EPOCH
    assert attempt.response_headers == b"x-a: 1\r\n"
    assert attempt.response_body == (b"thanks" * 10_000)[:RESPONSE_STORED_BYTES_MAX]
    assert batch.owed == ()
    assert batch.effects == ()
    assert batch.health == ()
    assert [c.seq for c in batch.cursors] == [1]
    assert desk.telemetry.attempts == [("delivered", "confirmed", "live")]
    assert desk.telemetry.delays == [pytest.approx(0.25 - 1.0)], (
        "from the event's creation, which is a second ahead here"
    )


@virtual_time
async def test_an_expired_event_is_given_up_without_a_request() -> None:
    desk = Desk()
    event = an_event(1, expires_at=EPOCH - 1)
    delivery = a_delivery(event=event)
    desk.progress.opened(event, 1)
    await desk.sender.attempt(Peer(ENDPOINT), [delivery])
    assert desk.transport.sent == []
    await desk.written()
    (attempt,) = desk.store.written[0].attempts
    assert (attempt.outcome, attempt.reason, attempt.sent) == (AttemptOutcome.GAVE_UP, "expired", False)
    assert desk.telemetry.attempts == [("gave_up", "expired", "live")]


@virtual_time
async def test_an_expired_event_is_sent_again_on_request() -> None:
    desk = Desk()
    event = an_event(1, expires_at=EPOCH - 1)
    delivery = a_delivery(event=event, kind=DeliveryClass.REPLAY, fresh=False, row=True)
    await desk.sender.attempt(Peer(ENDPOINT), [delivery])
    (sent,) = desk.transport.sent
    assert sent.headers["webhook-replay"] == "true"


@pytest.mark.parametrize("endpoint", [ENDPOINT, an_endpoint(url="nonsense")])
def test_a_fault_of_ours_is_raised_and_nothing_is_recorded(endpoint: Endpoint) -> None:
    async def reply(_: Sent) -> Result:
        raise OSError("no file descriptor is left")

    @virtual_time
    async def test() -> None:
        desk = Desk(reply)
        peer = Peer(endpoint)
        with pytest.raises((OSError, PosthouseError)):
            await desk.sender.attempt(peer, [desk.dispatched()])
        await desk.written()
        assert desk.store.batches == []
        assert desk.telemetry.attempts == []
        assert peer.failing_since is None

    test()


@pytest.mark.parametrize("batch", [None, Batch(10)])
@pytest.mark.parametrize("lost", ["lease", "partition"])
def test_what_was_lost_while_it_was_looked_up_is_not_sent(lost: str, batch: Batch | None) -> None:
    @virtual_time
    async def test() -> None:
        desk = Desk()

        async def covered(*_: object) -> bool:
            if lost == "lease":
                desk.valid = False
            else:
                desk.epochs.clear()
            return True

        desk.store.covered = covered  # type: ignore[method-assign, assignment]
        peer = Peer(an_endpoint(grants=Shrinkage(version=9), batch=batch))
        with pytest.raises(NotOwner):
            await desk.sender.attempt(
                peer, [desk.dispatched(event=an_event(seq, app_id=None)) for seq in (1, 2)[: 1 + bool(batch)]]
            )
        assert desk.transport.sent == []
        assert peer.calm

    test()


@pytest.mark.parametrize("batch", [None, Batch(10)])
@pytest.mark.parametrize("lost", ["lease", "partition"])
def test_what_was_lost_while_a_token_was_asked_for_is_not_sent(
    lost: str, batch: Batch | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    @virtual_time
    async def test() -> None:
        desk = Desk()

        async def bearer(*_: object, **__: object) -> str:
            if lost == "lease":
                desk.valid = False
            else:
                desk.epochs.clear()
            return "token"

        monkeypatch.setattr(desk.sender.tokens, "bearer", bearer)
        auth = OAuth2Auth(token_url="https://example.com/token", client_id="c", key="k")
        peer = Peer(an_endpoint(auth=auth, keys=NamedKeys({"k": ("s",)}), batch=batch))
        load = [desk.dispatched(event=an_event(seq)) for seq in (1, 2)[: 1 + bool(batch)]]
        with pytest.raises(NotOwner):
            await desk.sender.attempt(peer, load)
        assert desk.transport.sent == []
        assert peer.calm

    test()


@virtual_time
@pytest.mark.parametrize(
    ("meaning", "on_error", "reason"),
    [
        (True, OnFilterError.DELIVER, "confirmed"),
        (False, OnFilterError.DELIVER, "filtered"),
        (FAILED, OnFilterError.DELIVER, "confirmed"),
        (FAILED, OnFilterError.SKIP, "filter_failed"),
    ],
)
async def test_what_a_replay_asks_for_passes_the_filters_first(
    meaning: object, on_error: OnFilterError, reason: str
) -> None:
    expressions = FakeExpressions({"f": lambda _: meaning})
    desk = Desk(replying(answer()), expressions)
    endpoint = msgspec.structs.replace(ENDPOINT, filter="f", on_filter_error=on_error)
    replay = {"kind": DeliveryClass.REPLAY, "fresh": False, "row": True}
    await desk.sender.attempt(Peer(endpoint), [desk.dispatched(**replay, replayed=True)])
    await desk.sender.attempt(Peer(endpoint), [desk.dispatched(seq=2, **replay)])  # sent again by hand
    await desk.written()
    reasons = {a.seq: a.reason for batch in desk.store.written for a in batch.attempts}
    assert reasons == {1: reason, 2: "confirmed"}
    assert expressions.evaluations == [["f"]]


@virtual_time
async def test_what_a_filter_was_asked_about_is_not_sent_where_its_partition_was_lost_meanwhile() -> None:
    expressions = FakeExpressions({"f": lambda _: True})
    expressions.gate = asyncio.Event()
    desk = Desk(replying(answer()), expressions)
    peer = Peer(msgspec.structs.replace(ENDPOINT, filter="f"))
    delivery = desk.dispatched(kind=DeliveryClass.REPLAY, fresh=False, row=True, replayed=True)
    asked = asyncio.ensure_future(desk.sender.attempt(peer, [delivery]))
    await until(lambda: expressions.evaluations == [["f"]])
    desk.epochs.clear()
    expressions.gate.set()
    with pytest.raises(NotOwner):
        await asked
    assert desk.transport.sent == []


# A kept connection that died.


@virtual_time
async def test_what_went_out_on_a_dead_connection_goes_again_over_a_new_one_by_way_of_its_lane() -> None:
    desk = Desk(replying(msgspec.structs.replace(failure(Fault.CLOSED_EARLY), stale=True)))
    delivery = desk.dispatched()
    told = await desk.sender.attempt(Peer(ENDPOINT), [delivery])
    assert (told.fates, told.seconds) == ([Fate.AGAIN], 0.001), "its rate counts what was sent, and what will be"
    assert desk.transport.ways == [(True, False)]
    desk.transport.reply = confirm
    assert (await desk.sender.attempt(Peer(ENDPOINT), [delivery])).fates == (Fate.SETTLED,)
    assert desk.transport.ways == [(True, False), (True, True)]
    await desk.written()
    (batch,) = desk.store.written
    assert [(a.number, a.outcome, a.reason) for a in batch.attempts] == [
        (1, AttemptOutcome.FAILED, "closed_early"),
        (1, AttemptOutcome.DELIVERED, "confirmed"),
    ], "each request is on record"
    assert (batch.owed, batch.health, batch.effects) == ((), (), ())


@virtual_time
async def test_of_a_partition_that_was_lost_nothing_goes_again() -> None:
    desk = Desk()

    async def lost(_: Sent) -> Result:
        desk.epochs.clear()
        return msgspec.structs.replace(failure(Fault.CLOSED_EARLY), stale=True)

    desk.transport.reply = lost
    told = await desk.sender.attempt(Peer(ENDPOINT), [desk.dispatched()])
    assert Fate.AGAIN not in told.fates


@virtual_time
async def test_a_batch_goes_over_a_new_connection_where_one_of_it_has_to() -> None:
    desk = Desk()
    load = [desk.dispatched(event=an_event(seq)) for seq in (1, 2)]
    load[1].anew = True
    await desk.sender.attempt(Peer(an_endpoint(batch=Batch())), load)
    assert desk.transport.ways == [(True, True)]


@virtual_time
async def test_a_probe_whose_connection_died_leaves_room_for_the_next() -> None:
    desk = Desk(replying(msgspec.structs.replace(failure(Fault.CLOSED_EARLY), stale=True)))
    peer = Peer(ENDPOINT, CircuitPolicy(requests_min=1))
    (route,) = peer.routes
    route.circuit.ended(route.circuit.began(desk.clock.now()), failed=True, now=desk.clock.now())
    later = peer.wait(desk.clock.now())
    assert later > 0
    await asyncio.sleep(later)
    assert peer.wait(desk.clock.now()) == 0
    assert list((await desk.sender.attempt(peer, [desk.dispatched()])).fates) == [Fate.AGAIN]
    assert peer.wait(desk.clock.now()) == 0
