"""Sealed secrets open with their key, in their place, and nowhere else."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from posthouse.domain.errors import SetupError
from posthouse.wire.sealing import (
    binding,
    data_key_version,
    open_sealed,
    open_with_data_key,
    seal,
    seal_with_data_key,
    sealed_with,
)

KEY_ID = "0a1b2c3d"
KEY = b"K" * 32
NONCE = b"N" * 12
SECRET = b"whsec_the secret itself"
PLACE = binding(b"owner", "v1", 1)

owners = st.binary(max_size=20)
kinds = st.text(max_size=8).filter(lambda text: text.isascii())
versions = st.integers(min_value=0, max_value=2**63)


def sealed(plaintext: bytes = SECRET, place: bytes = PLACE) -> bytes:
    return seal(KEY, KEY_ID, plaintext, nonce=NONCE, bound_to=place)


@given(st.binary(max_size=100), owners, kinds, versions)
def test_what_is_sealed_opens(plaintext: bytes, owner: bytes, kind: str, version: int) -> None:
    place = binding(owner, kind, version)
    assert open_sealed({KEY_ID: KEY}, sealed(plaintext, place), bound_to=place) == plaintext


@given(owners, kinds, versions, owners, kinds, versions)
def test_places_are_told_apart(
    owner: bytes, kind: str, version: int, other_owner: bytes, other_kind: str, other_version: int
) -> None:
    assume((owner, kind, version) != (other_owner, other_kind, other_version))
    assert binding(owner, kind, version) != binding(other_owner, other_kind, other_version)


@pytest.mark.parametrize(
    "elsewhere",
    [
        binding(b"other", "v1", 1),
        binding(b"owner", "v1a", 1),
        binding(b"owner", "v1", 2),
        binding(b"ownerv", "1", 1),
        b"",
    ],
)
def test_a_ciphertext_moved_elsewhere_does_not_open(elsewhere: bytes) -> None:
    with pytest.raises(SetupError, match="moved here") as caught:
        open_sealed({KEY_ID: KEY}, sealed(), bound_to=elsewhere)
    assert "secret itself" not in str(caught.value)


@given(st.data())
def test_any_flipped_bit_is_noticed(data: st.DataObject) -> None:
    altered = bytearray(sealed())
    bit = data.draw(st.integers(min_value=0, max_value=len(altered) * 8 - 1))
    altered[bit // 8] ^= 1 << bit % 8
    with pytest.raises(SetupError):
        open_sealed({KEY_ID: KEY}, bytes(altered), bound_to=PLACE)


def test_another_keys_id_does_not_open_it() -> None:
    """The key id is bound too: both ids lead to the same key here."""
    altered = sealed()[:1] + bytes.fromhex("ffffffff") + sealed()[5:]
    with pytest.raises(SetupError, match="altered"):
        open_sealed({KEY_ID: KEY, "ffffffff": KEY}, altered, bound_to=PLACE)


def test_a_missing_key_is_named() -> None:
    with pytest.raises(SetupError, match=f"master key {KEY_ID}, which is not loaded"):
        open_sealed({"ffffffff": KEY}, sealed(), bound_to=PLACE)


@pytest.mark.parametrize("damaged", [b"", b"\x01", b"\x02" + bytes(60), sealed(b"")[:-1]])
def test_what_is_no_sealed_secret_is_refused(damaged: bytes) -> None:
    with pytest.raises(SetupError, match="not in a form known here"):
        open_sealed({KEY_ID: KEY}, damaged, bound_to=PLACE)


def test_the_key_can_be_told_without_opening() -> None:
    assert sealed_with(sealed()) == KEY_ID
    assert SECRET not in sealed()


@pytest.mark.parametrize(("key", "key_id", "nonce"), [(b"k", KEY_ID, NONCE), (KEY, "0a", NONCE), (KEY, KEY_ID, b"n")])
def test_sizes_are_checked(key: bytes, key_id: str, nonce: bytes) -> None:
    with pytest.raises(ValueError, match="key"):
        seal(key, key_id, SECRET, nonce=nonce, bound_to=PLACE)


@given(st.binary(max_size=100), st.integers(min_value=0, max_value=2**32 - 1))
def test_a_data_key_seals_and_its_version_is_bound(plaintext: bytes, version: int) -> None:
    made = seal_with_data_key(KEY, version, plaintext, nonce=NONCE, bound_to=PLACE)
    assert data_key_version(made) == version
    assert open_with_data_key(KEY, made, bound_to=PLACE) == plaintext
    with pytest.raises(SetupError, match="not in a form"):
        sealed_with(made)
    moved = made[:1] + (version ^ 1).to_bytes(4, "big") + made[5:]
    for wrong, place in ((moved, PLACE), (made + b"x", PLACE), (made, binding(b"other", "v1", 1))):
        with pytest.raises(SetupError, match="does not open"):
            open_with_data_key(KEY, wrong, bound_to=place)


def test_what_a_master_key_sealed_has_no_data_key() -> None:
    assert data_key_version(sealed()) is None
    for unknown in (b"", b"\x03" + sealed()[1:], b"\x02abcd"):
        with pytest.raises(SetupError, match="not in a form"):
            data_key_version(unknown)
