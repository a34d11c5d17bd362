"""AES and SM4 in GCM and CBC, padding (PKCS 7), and the frame of WeChat and DingTalk. Pure: random bytes are arguments.

CBC is not authenticated: whoever can change the ciphertext can change what it decrypts to. A signature belongs to it, and is
verified first.
"""

from __future__ import annotations

import binascii
from base64 import b64decode, b64encode, urlsafe_b64encode
from collections.abc import Callable
from typing import Final

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.ciphers import Cipher as Machine
from cryptography.hazmat.primitives.ciphers import modes
from cryptography.hazmat.primitives.ciphers.algorithms import AES, SM4

from posthouse_sdk.encryption.errors import SettingError, UnopenedError
from posthouse_sdk.encryption.settings import BLOCK_BYTES, Cipher

TAG_BYTES: Final = 16
FRAME_RANDOM_BYTES: Final = 16
FRAME_LENGTH_BYTES: Final = 4

Random = Callable[[int], bytes]

_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_ALGORITHMS: Final[dict[str, type[AES | SM4]]] = {"aes": AES, "sm4": SM4}


def encrypt(cipher: Cipher, key: bytes, iv: bytes, plain: bytes, associated: bytes = b"") -> tuple[bytes, bytes]:
    """The ciphertext and its tag, which only GCM has. In CBC the plaintext is padded already."""
    algorithm = _ALGORITHMS[cipher.algorithm](key)
    if not cipher.authenticated:
        encryptor = Machine(algorithm, modes.CBC(iv)).encryptor()
        return encryptor.update(plain) + encryptor.finalize(), b""
    sealer = Machine(algorithm, modes.GCM(iv)).encryptor()
    sealer.authenticate_additional_data(associated)
    ciphertext = sealer.update(plain) + sealer.finalize()
    return ciphertext, sealer.tag


def decrypt(cipher: Cipher, key: bytes, iv: bytes, ciphertext: bytes, tag: bytes, associated: bytes = b"") -> bytes:
    """The other way. Raises: UnopenedError."""
    algorithm = _ALGORITHMS[cipher.algorithm](key)
    try:
        if not cipher.authenticated:
            decryptor = Machine(algorithm, modes.CBC(iv)).decryptor()
            return decryptor.update(ciphertext) + decryptor.finalize()
        if len(tag) != TAG_BYTES:
            raise UnopenedError
        opener = Machine(algorithm, modes.GCM(iv, tag)).decryptor()
        opener.authenticate_additional_data(associated)
        return opener.update(ciphertext) + opener.finalize()
    except (InvalidTag, ValueError):
        raise UnopenedError from None


def check_available(cipher: Cipher) -> None:
    """Raises: SettingError where the OpenSSL of this installation was built without the cipher."""
    try:
        encrypt(cipher, bytes(cipher.key_bytes), bytes(cipher.iv_bytes), bytes(BLOCK_BYTES))
    except UnsupportedAlgorithm:
        raise SettingError("the OpenSSL that cryptography uses here was built without this cipher", "cipher") from None


def pad(plain: bytes, size: int) -> bytes:
    """PKCS 7 to a multiple of `size`: 16, or the 32 of WeChat and DingTalk."""
    more = size - len(plain) % size
    return plain + bytes((more,)) * more


def unpad(padded: bytes, size: int) -> bytes:
    """Raises: UnopenedError."""
    more = padded[-1] if padded else 0
    if not 1 <= more <= size or len(padded) % size or padded[-more:] != bytes((more,)) * more:
        raise UnopenedError
    return padded[:-more]


def framed(plain: bytes, owner: str, random: Random) -> bytes:
    """16 random letters and digits ‖ length of the message (uint32, big-endian) ‖ message ‖ whose it is."""
    start = letters(FRAME_RANDOM_BYTES, random).encode("ascii")
    return b"%b%b%b%b" % (start, len(plain).to_bytes(FRAME_LENGTH_BYTES, "big"), plain, owner.encode())


def unframed(frame: bytes, owner: str) -> bytes:
    """Raises: UnopenedError, also where it is another's."""
    begin = FRAME_RANDOM_BYTES + FRAME_LENGTH_BYTES
    end = begin + int.from_bytes(frame[FRAME_RANDOM_BYTES:begin], "big")
    if len(frame) < begin or end > len(frame) or frame[end:] != owner.encode():
        raise UnopenedError
    return frame[begin:end]


def letters(count: int, random: Random) -> str:
    """So many letters and digits, made of as many random bytes: just under 6 bits each."""
    return "".join(_LETTERS[byte % len(_LETTERS)] for byte in random(count))


def as_text(raw: bytes, encoding: str) -> str:
    match encoding:
        case "hex":
            return raw.hex()
        case "base64url":
            return urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")
        case _:
            return b64encode(raw).decode("ascii")


def from_text(text: str, encoding: str) -> bytes:
    """Only the one spelling that `as_text` makes. Raises: UnopenedError."""
    try:
        match encoding:
            case "hex":
                raw = bytes.fromhex(text)
            case "base64url":
                raw = b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            case _:
                raw = b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise UnopenedError from None
    if as_text(raw, encoding) != (text.lower() if encoding == "hex" else text):
        raise UnopenedError
    return raw
