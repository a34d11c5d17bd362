"""Target URLs: what they become, and what is refused with a reason."""

from urllib.parse import urlsplit

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Target
from posthouse.domain.limits import URL_LENGTH_MAX
from posthouse.wire.target import parse_target


def test_a_plain_url() -> None:
    assert parse_target("https://example.com/hooks/1?shop=42") == Target(
        scheme="https", host="example.com", port=443, path="/hooks/1?shop=42", authority="example.com"
    )


@pytest.mark.parametrize(
    ("url", "host", "port", "authority"),
    [
        ("HTTP://Example.COM", "example.com", 80, "example.com"),
        ("http://example.com:8080", "example.com", 8080, "example.com:8080"),
        ("https://example.com:443", "example.com", 443, "example.com"),
        ("http://example.com:443", "example.com", 443, "example.com:443"),
        ("http://example.com:", "example.com", 80, "example.com"),
        ("http://example.com:0080", "example.com", 80, "example.com"),
        ("http://example.com:65535", "example.com", 65535, "example.com:65535"),
        ("http://example.com.", "example.com", 80, "example.com"),
        ("http://localhost:9000", "localhost", 9000, "localhost:9000"),
        ("http://my_service:9000", "my_service", 9000, "my_service:9000"),
        ("http://192.0.2.1:81", "192.0.2.1", 81, "192.0.2.1:81"),
        ("http://[2001:DB8::1]", "2001:db8::1", 80, "[2001:db8::1]"),
        ("https://[2001:db8:0:0:0:0:0:1]:8443", "2001:db8::1", 8443, "[2001:db8::1]:8443"),
        ("https://bücher.example", "xn--bcher-kva.example", 443, "xn--bcher-kva.example"),
        ("https://BÜCHER.example", "xn--bcher-kva.example", 443, "xn--bcher-kva.example"),
        ("https://xn--BCHER-kva.example", "xn--bcher-kva.example", 443, "xn--bcher-kva.example"),
        ("https://faß.example", "xn--fa-hia.example", 443, "xn--fa-hia.example"),
        ("https://驿站。中国", "xn--5tz216d.xn--fiqs8s", 443, "xn--5tz216d.xn--fiqs8s"),
        ("http://１２７.０.０.１", "127.0.0.1", 80, "127.0.0.1"),
    ],
)
def test_hosts_and_ports(url: str, host: str, port: int, authority: str) -> None:
    target = parse_target(url)
    assert (target.host, target.port, target.authority, target.path) == (host, port, authority, "/")


@pytest.mark.parametrize(
    ("rest", "path"),
    [
        ("", "/"),
        ("/", "/"),
        ("?x=1", "/?x=1"),
        ("?", "/?"),
        ("/a/../b//c;v=1", "/a/../b//c;v=1"),
        ("//double", "//double"),
        ("/%E2%82%AC/%2F?q=%20", "/%E2%82%AC/%2F?q=%20"),
        ("/€?q=驿", "/%E2%82%AC?q=%E9%A9%BF"),
        ('/a"<>{}^`?b="<>{}^`', "/a%22%3C%3E%7B%7D%5E%60?b=%22%3C%3E{}^`"),
        ("/?a[]=1|2&b=c:d@e/f?g", "/?a[]=1|2&b=c:d@e/f?g"),
    ],
)
def test_paths_and_queries(rest: str, path: str) -> None:
    assert parse_target("https://example.com" + rest).path == path


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("", "not an absolute URL"),
        ("example.com/hooks", "not an absolute URL"),
        ("//example.com/hooks", "not an absolute URL"),
        ("/hooks", "not an absolute URL"),
        ("https:example.com", "not an absolute URL"),
        ("https:/example.com", "not an absolute URL"),
        ("ftp://example.com", "only http and https"),
        ("file:///etc/passwd", "only http and https"),
        ("gopher://127.0.0.1:6379/_FLUSHALL", "only http and https"),
        ("https://", "no host"),
        ("https:///hooks", "no host"),
        ("https://:8080/", "no host"),
        ("https://?x", "no host"),
        ("https://user:pw@example.com/", "credentials"),
        ("https://user@example.com/", "credentials"),
        ("https://@example.com/", "credentials"),
        ("https://example.com:80@evil.example/", "credentials"),
        ("https://example.com/#part", "fragment"),
        ("https://evil.example#@example.com/", "fragment"),
        ("https://example.com/a b", r"U\+0020"),
        (" https://example.com/", r"U\+0020"),
        ("https://example.com/\r\nX: y", r"U\+000D"),
        ("https://example.com/\x00", r"U\+0000"),
        ("https://exa\tmple.com/", r"U\+0009"),
        ("https://example.com\\@evil.example/", r"U\+005C"),
        ("https://example.com/\u2028", r"U\+2028"),
        ("https://example.com/\u00a0", r"U\+00A0"),
        ("https://example.com/\ud800", r"U\+D800"),
        ("https://example.com:0/", "port"),
        ("https://example.com:65536/", "port"),
        ("https://example.com:99999999999999999999/", "port"),
        ("https://example.com:+80/", "port"),
        ("https://example.com:８０/", "port"),
        ("https://example.com:https/", "port"),
        ("https://example.com:80:80/", "more than one colon"),
        ("https://2001:db8::1/", "brackets"),
        ("https://[2001:db8::1/", "brackets closed"),
        ("https://[::1]x/", "brackets closed"),
        ("https://[::1%25eth0]/", "zone"),
        ("https://[v1.x]/", "not an IPv6"),
        ("https://[127.0.0.1]/", "not an IPv6"),
        ("https://127.1/", "four decimal numbers"),
        ("https://2130706433/", "four decimal numbers"),
        ("https://0x7f.1/", "four decimal numbers"),
        ("https://0177.0.0.1/", "four decimal numbers"),
        ("https://127.0.0.0x1/", "four decimal numbers"),
        ("https://256.0.0.1/", "four decimal numbers"),
        ("https://１２７.１/", "four decimal numbers"),
        ("https://exa%6Dple.com/", "no name can be"),
        ("https://example..com/", "no name can be"),
        ("https://./", "no name can be"),
        ("https://-example.com/", "no name can be"),
        ("https://example-.com/", "no name can be"),
        ("https://exam!ple.com/", "no name can be"),
        (f"https://{'a' * 64}.com/", "no name can be"),
        (f"https://{'a.' * 127}com/", "no name can be"),
        ("https://xn--a/", "internationalised"),
        ("https://xn--/", "internationalised"),
        (f"https://{'ü' * 64}.com/", "internationalised"),
        ("https://ü..com/", "internationalised"),
        (f"https://example.com/{'a' * URL_LENGTH_MAX}", "longer than"),
        (f"https://example.com/{'€' * 300}", "once it is percent-encoded"),
    ],
)
def test_hostile_and_mistaken_urls(url: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as caught:
        parse_target(url)
    assert caught.value.path == "url"


def test_the_longest_url_is_taken() -> None:
    start = "https://example.com/"
    assert len(parse_target(start + "a" * (URL_LENGTH_MAX - len(start))).path) == URL_LENGTH_MAX - len(start) + 1


awkward = st.text(
    st.sampled_from("abZ019.:/?#@[]%\\ \t\r\n\0-_~üß€驿。１\u200d\ud800\"'<>|^`{}!$&()*+,;="), max_size=40
)


@given(
    st.one_of(
        st.text(max_size=60),
        st.builds("{}://{}".format, st.sampled_from(["http", "https", "HTTPS"]), awkward),
        st.builds("https://example.com{}".format, awkward),
    )
)
@example("https://example.com/\u0130")
def test_whatever_is_accepted_is_safe_in_a_request_line(url: str) -> None:
    try:
        target = parse_target(url)
    except Invalid:
        return
    assert target.path.startswith("/")
    for text in (target.path, target.authority, target.host):
        assert text.isascii()
        assert text.isprintable()
        assert " " not in text
    assert "#" not in target.path
    assert "@" not in target.authority
    # Another parser reads the same from what we send, and so do we.
    again = urlsplit(f"{target.scheme}://{target.authority}{target.path}")
    assert again.hostname == target.host
    assert (again.port or {"http": 80, "https": 443}[target.scheme]) == target.port
    assert parse_target(f"{target.scheme}://{target.authority}{target.path}") == target
