"""What is nested more deeply than a format can be written is told as such: the fault is not ours, and has an end."""

from __future__ import annotations

import pytest
from tests.fakes import an_endpoint, an_event

from posthouse.domain.formats import format_of
from posthouse.wire.message import Unsendable
from posthouse.wire.renderer import renderer_of

DEEP = b"[" * 900 + b"]" * 900


@pytest.mark.parametrize("options", [{"kind": "xml"}, {"kind": "form", "nesting": "json"}], ids=["xml", "form"])
def test_it_is_not_sent(options: dict[str, str]) -> None:
    renderer = renderer_of(an_endpoint(format=format_of(options)), random=bytes)
    deep = an_event(payload=DEEP if options["kind"] == "xml" else b'{"a":%b}' % DEEP)
    with pytest.raises(Unsendable):
        renderer.render(deep, now=0, replay=False)
    renderer.render(an_event(payload=b'{"a":%b}' % (b"[" * 100 + b"]" * 100)), now=0, replay=False)
