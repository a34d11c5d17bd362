"""Named keys: their rotation, and that nothing shows them."""

from __future__ import annotations

import msgspec
import pytest

from posthouse.domain.errors import Conflict, Invalid
from posthouse.domain.limits import ENDPOINT_KEY_BYTES_MAX, ENDPOINT_KEY_VERSIONS_MAX, ENDPOINT_KEYS_MAX
from posthouse.domain.named_keys import KeyVersion, NamedKeys, check_key, check_key_count, put_key, texts_of

NOW = 1_000.0


def put(
    versions: tuple[KeyVersion, ...], text: str, *, at: float = NOW, overlap: float = 60.0, name: str = "a"
) -> tuple[KeyVersion, ...]:
    return put_key(versions, name, text, now=at, overlap_seconds=overlap)


def test_a_rotation_keeps_the_old_text_until_the_overlap_ends() -> None:
    versions = put(put((), "one"), "two")
    assert texts_of(versions, now=NOW) == NamedKeys({"a": ("two", "one")})
    assert texts_of(versions, now=NOW + 59.9) == NamedKeys({"a": ("two", "one")})
    assert texts_of(versions, now=NOW + 60) == NamedKeys({"a": ("two",)})
    later = put(versions, "three", at=NOW + 60)
    assert [(one.version, one.text, one.expires_at) for one in later] == [(2, "two", NOW + 120), (3, "three", None)]


def test_without_an_overlap_all_others_end_at_once() -> None:
    versions = put(put(put((), "one"), "two"), "three", overlap=0)
    assert [(one.version, one.text) for one in versions] == [(3, "three")]


def test_an_overlap_is_shortened_and_never_lengthened() -> None:
    versions = put(put(put((), "one"), "two", overlap=10), "three", overlap=600)
    assert [one.expires_at for one in versions] == [NOW + 10, NOW + 600, None]


def test_the_text_that_is_there_makes_no_new_version_and_may_end_the_others() -> None:
    versions = put(put((), "one"), "two")
    assert put(versions, "two", overlap=600) == versions
    assert put(versions, "two", overlap=0) == versions[1:]


def test_a_text_that_comes_back_is_one_version() -> None:
    versions = put(put(put((), "one"), "two"), "one")
    assert [(one.version, one.text) for one in versions] == [(2, "two"), (3, "one")]


def test_what_does_not_open_is_replaced_and_until_then_its_key_is_not_there() -> None:
    closed = (KeyVersion("a", 1, "old", expires_at=NOW + 9), KeyVersion("a", 2, None), KeyVersion("b", 1, "kept"))
    assert texts_of(closed, now=NOW) == NamedKeys({"b": ("kept",)})
    versions = put(closed, "new")
    assert texts_of(versions, now=NOW) == NamedKeys({"a": ("new", "old"), "b": ("kept",)})


def test_too_many_live_versions() -> None:
    versions: tuple[KeyVersion, ...] = ()
    for number in range(ENDPOINT_KEY_VERSIONS_MAX):
        versions = put(versions, f"text {number}")
    with pytest.raises(Conflict, match="4 versions"):
        put(versions, "one more")
    assert len(put(versions, "one more", overlap=0)) == 1
    assert len(put(versions, "another", name="b")) == ENDPOINT_KEY_VERSIONS_MAX + 1


@pytest.mark.parametrize("name", ["", "A", "1a", "a b", "a\n", "ä", "a.b", "-a", "a" * 65])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(Invalid, match="small letters") as refused:
        check_key(name, "text", path="keys")
    assert refused.value.path == "keys"


@pytest.mark.parametrize("text", ["", "ä" * (ENDPOINT_KEY_BYTES_MAX // 2 + 1)])
def test_texts_of_a_wrong_size(text: str) -> None:
    with pytest.raises(Invalid, match="16384 bytes"):
        check_key("a", text, path="value")


def test_bounds_are_reached() -> None:
    check_key("a" + "_-9" * 21, "x" * ENDPOINT_KEY_BYTES_MAX, path="keys")
    check_key_count(ENDPOINT_KEYS_MAX)
    with pytest.raises(Invalid, match="at most 16"):
        check_key_count(ENDPOINT_KEYS_MAX + 1)


def test_no_text_form_shows_a_text() -> None:
    keys = NamedKeys({"a": ("hush",)})
    assert "hush" not in f"{keys} {keys!r} {KeyVersion('a', 1, 'hush')!r}"
    assert "a=<hidden>" in repr(keys)
    assert keys["a"] == ("hush",)
    assert hash(keys) == hash(NamedKeys({"a": ("hush",)}))
    assert keys != NamedKeys({"a": ("other",)})
    with pytest.raises(TypeError):
        msgspec.json.encode(keys)
