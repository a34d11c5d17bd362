"""What rendering and signing a request costs, in this process alone: for a plain endpoint, and for some that are spoken to
in languages of their own."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from bench.figures import Figure, Report
from bench.harness import Bench
from bench.scale import Scale
from posthouse.domain.endpoint import Endpoint, Format, Secret
from posthouse.domain.event import Event
from posthouse.domain.formats import XmlFormat
from posthouse.domain.ids import AppId, EndpointId, EventId, uuid7
from posthouse.domain.named_keys import NamedKeys
from posthouse.domain.signing import Algorithm, CustomSigner, Place, Placed
from posthouse.wire.renderer import renderer_of

PAYLOAD: Final = b'{"order_id":123456789,"items":[{"sku":"abc-1","count":2},{"sku":"abc-2","count":1}],"note":"%b"}' % (
    b"x" * 250
)
REQUESTS: Final = 4_000
_CUSTOM: Final = CustomSigner(
    algorithm=Algorithm.HMAC_SHA256,
    key="k",
    parts=("{timestamp}.{body}",),
    signature=Placed(place=Place.HEADER, name="X-Signature", value="t={timestamp},v1={signature}"),
)


def measure(bench: Bench, scale: Scale, report: Report) -> None:
    del bench
    plain = _endpoint()
    kinds: dict[str, tuple[Endpoint, str]] = {
        "render_us": (plain, "the standard envelope, signed with one key: what most endpoints get"),
        "render_cloudevents_us": (_endpoint(format=Format.CLOUDEVENTS), "CloudEvents, the same otherwise"),
        "render_custom_us": (_endpoint(signing=(_CUSTOM,), keys=NamedKeys({"k": ("secret",)})), "a custom signature"),
        "render_xml_us": (_endpoint(format=XmlFormat()), "XML, signed with one key"),
    }
    for name, (endpoint, how) in kinds.items():
        render = _rendering(endpoint)
        render(REQUESTS // 4)
        requests = REQUESTS if scale.events >= REQUESTS else max(scale.events // 10, 100)
        samples = tuple(render(requests) for _ in range(scale.runs))
        report.add(Figure(name, samples, f"CPU of a request of {len(PAYLOAD)} bytes of data: {how}", 1))


def _endpoint(**fields: object) -> Endpoint:
    secret = Secret("v1", bytes(range(32)))
    given: dict[str, object] = {"secrets": (secret,), **fields}
    return Endpoint(
        id=EndpointId(uuid7(1, 1)),
        app_id=AppId(uuid7(1, 2)),
        partition=0,
        revision=1,
        url="https://example.com/hook",
        **given,  # type: ignore[arg-type]
    )


def _rendering(endpoint: Endpoint) -> Callable[[int], float]:
    """Renders so many requests, each of another event, and gives the microseconds of one."""
    renderer = renderer_of(endpoint, random=bytes)

    def run(requests: int) -> float:
        events = [_event(n) for n in range(requests)]
        started = time.process_time()
        for event in events:
            renderer.render(event, now=event.created_at, replay=False)
        return (time.process_time() - started) / requests * 1e6

    return run


def _event(number: int) -> Event:
    at = 1_800_000_000.0 + number * 0.0002
    return Event(
        id=EventId(uuid7(int(at * 1000), number)),
        partition=0,
        seq=number,
        app_id=AppId(uuid7(1, 2)),
        type="order.created",
        payload=PAYLOAD,
        content_type="application/json",
        created_at=at,
        config_version=1,
    )
