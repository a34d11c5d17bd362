"""Templates: what they are filled with, and what is refused when they are written."""

import pytest

from posthouse.domain.errors import Invalid
from posthouse.wire.template import EVENT_VALUES, REQUEST_VALUES, Template

KNOWN = frozenset({"event.id", "timestamp"})
VALUES = {"event.id": "evt_{1}", "timestamp": "17"}


@pytest.mark.parametrize(
    ("text", "filled"),
    [
        ("", ""),
        ("plain", "plain"),
        ("{event.id}", "evt_{1}"),
        ("t={timestamp},v1={event.id};", "t=17,v1=evt_{1};"),
        ("{timestamp}{timestamp}", "1717"),
        ("{{timestamp}}", "{timestamp}"),
        ("{{{timestamp}}}", "{17}"),
        ('{{"a":"{event.id}"}}', '{"a":"evt_{1}"}'),
    ],
)
def test_filling(text: str, filled: str) -> None:
    assert Template(text, known=KNOWN, path="p").fill(VALUES) == filled


def test_names_and_samples() -> None:
    template = Template("a{timestamp}{{b}}{event.id}", known=KNOWN, path="p")
    assert template.names == {"timestamp", "event.id"}
    assert template.sample("x") == "ax{b}x"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{event.ID}", "there is no .event.ID.; there are event.id, timestamp"),
        ("{}", "there is no ..;"),
        ("{ timestamp }", "there is no"),
        ("{timestamp", "stands alone"),
        ("timestamp}", "stands alone"),
        ("{a{timestamp}", "stands alone"),
        ("{data}", "the payload stands alone"),
        ("{event.key}", "a batch has several events"),
        ("{nonce}", "each event is written for itself"),
        ("{a\r\nb}", r"\\r\\n"),
    ],
)
def test_what_is_no_template(text: str, said: str) -> None:
    with pytest.raises(Invalid, match=said) as error:
        Template(text, known=KNOWN, path="headers.X-A")
    assert error.value.path == "headers.X-A"
    assert str(error.value).isprintable()


def test_the_names_there_are() -> None:
    assert not EVENT_VALUES & REQUEST_VALUES
