"""From a message to bytes: the exact request, and nothing that a step puts into a message can break its framing."""

import gzip as standard_gzip

import pytest
from tests.unit.wire.formatting import Received, formatter, message, request
from tests.unit.wire.test_render import NOW, endpoint, event

from posthouse import __version__
from posthouse.domain.endpoint import Timeouts
from posthouse.domain.formats import Method
from posthouse.domain.limits import REQUEST_HEAD_BYTES_MAX, URL_LENGTH_MAX
from posthouse.wire.assemble import assemble
from posthouse.wire.documents import Bytes, Gzip
from posthouse.wire.headers import RESERVED
from posthouse.wire.message import Unsendable
from posthouse.wire.render import Renderer


def test_the_whole_request() -> None:
    made = message(
        {"kind": "xml"}, headers={"X-Type": "{event.type}", "user-agent": "own"}, query={"at": "{timestamp}"}
    )
    made.headers.append(("X-Signature", "s"))
    sent = assemble(made, Timeouts(total=3.0))
    assert sent.head == (
        b"POST /hooks?at=1767323050 HTTP/1.1\r\n"
        b"Host: example.com\r\n"
        b"Accept: */*\r\n"
        b"Accept-Encoding: identity\r\n"
        b"X-Type: order.created\r\n"
        b"user-agent: own\r\n"
        b"X-Signature: s\r\n"
        b"Content-Type: application/xml; charset=utf-8\r\n"
        b"Content-Length: %d\r\n"
        b"\r\n" % len(sent.body)
    )
    assert sent.timeouts.total == 3.0
    assert sent.target.host == "example.com"


def test_a_plain_endpoint_s_request_is_the_same_this_way() -> None:
    plain = Renderer(endpoint(headers=(("X-Shop", "42"),), secrets=())).render(event(), now=NOW, replay=True)
    made = request(headers={"X-Shop": "42"}, replay=True)
    assert made.body == plain.body
    assert sorted([*made.head.split(b"\r\n"), b"webhook-id: ...", b"webhook-timestamp: ..."]) == sorted(
        line.split(b": ")[0] + b": ..." if line.startswith((b"webhook-id", b"webhook-timestamp")) else line
        for line in plain.head.split(b"\r\n")
    )
    assert f"User-Agent: {__version__}" not in made.head.decode()


@pytest.mark.parametrize(
    ("url", "target"),
    [
        ("https://example.com", "/?a=%26%20%3D"),
        ("https://example.com/x?", "/x?a=%26%20%3D"),
        ("https://example.com/x?b=1", "/x?b=1&a=%26%20%3D"),
        ("https://example.com/x?b=1&", "/x?b=1&a=%26%20%3D"),
    ],
)
def test_parameters_come_after_the_url_s_own(url: str, target: str) -> None:
    assert Received(request(url=url, query={"a": "& ="})).target == target


def test_compression_is_told() -> None:
    made = message(of=event(b'{"text":"%b"}' % (b"a" * 2_000)))
    plain = made.document.encoded()
    Gzip().apply(made)
    received = Received(assemble(made, Timeouts()))
    assert received.headers["content-encoding"] == "gzip"
    assert standard_gzip.decompress(received.body) == plain
    short = message()
    Gzip().apply(short)
    assert "content-encoding" not in Received(assemble(short, Timeouts())).headers


def test_get_has_no_body() -> None:
    made = message("form", method=Method.GET)
    assert Received(assemble(made, Timeouts())).body == b""
    made.document = Bytes(b"ciphertext")
    with pytest.raises(Unsendable, match="a body, which GET does not have"):
        assemble(made, Timeouts())


def test_an_empty_body_has_a_length() -> None:
    received = Received(request({"kind": "cloudevents", "mode": "binary", "thin": True}))
    assert received.headers["content-length"] == "0"
    assert "content-type" not in received.headers


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("X-A", "secret\r\nX-B: c", "no line break"),
        ("X-A", "secret\0", "no line break"),
        ("X-A", "secret店", "Latin-1"),
        ("X-A", "secret ", "begins nor ends"),
        ("X-A\r\nX-B", "secret", "a header name is"),
        ("X A", "secret", "a header name is"),
        ("X-A:", "secret", "a header name is"),
        ("", "secret", "a header name is"),
        ("x-twice", "secret", "there twice"),
        *((name.upper(), "secret", "cannot be set") for name in RESERVED),
    ],
)
def test_headers_that_no_step_may_set(name: str, value: str, said: str) -> None:
    made = message(headers={"X-Twice": "1"})
    made.headers.append((name, value))
    with pytest.raises(Unsendable, match=said) as error:
        assemble(made, Timeouts())
    assert "secret" not in str(error.value)
    assert str(error.value).isprintable()


def test_what_else_a_step_may_not_set() -> None:
    made = message()
    made.content_type = "text/plain\r\nX: y"
    with pytest.raises(Unsendable, match="content type"):
        assemble(made, Timeouts())
    made = message()
    made.method = "GET / HTTP/1.1\r\n"
    with pytest.raises(Unsendable, match="method"):
        assemble(made, Timeouts())


def test_limits() -> None:
    made = message()
    made.query.append(("a", "店" * 300))
    with pytest.raises(Unsendable, match=rf"has 27\d\d characters, more than {URL_LENGTH_MAX}"):
        assemble(made, Timeouts())
    made = message()
    made.headers.append(("X-Large", "a" * REQUEST_HEAD_BYTES_MAX))
    with pytest.raises(Unsendable, match=f"more than {REQUEST_HEAD_BYTES_MAX}"):
        assemble(made, Timeouts())


def test_the_longest_url() -> None:
    room = URL_LENGTH_MAX - len("https://example.com/hooks?a=")
    made = message()
    made.query.append(("a", "x" * room))
    assert len(Received(assemble(made, Timeouts())).target) == URL_LENGTH_MAX - len("https://example.com")
    made.query[0] = ("a", "x" * (room + 1))
    with pytest.raises(Unsendable):
        assemble(made, Timeouts())


def test_a_message_may_be_assembled_again() -> None:
    made = formatter("form").render(event(), now=NOW, random=bytes, replay=False)
    assert assemble(made, Timeouts()) == assemble(made, Timeouts())
