"""The general signer: what a platform's documentation says of its signature, done as it is configured.

{"kind": "custom", "algorithm": "hmac-sha256", "key": "stripe", "parts": ["{timestamp}.{body}"],
 "signature": {"in": "header", "name": "Stripe-Signature", "value": "t={timestamp},v1={signature}"},
 "repeat": ",v1={signature}"}
"""

from __future__ import annotations

from typing import Final

from posthouse.domain.errors import Invalid
from posthouse.domain.limits import SIGNED_PARTS_MAX
from posthouse.domain.signing import CustomSigner as Configuration
from posthouse.domain.signing import Order, PairSource
from posthouse.wire.message import Message
from posthouse.wire.signing.algorithms import DIGESTS, HMACS, Keyed, keyed
from posthouse.wire.signing.keys import Keys
from posthouse.wire.signing.pairs import compile_pairs
from posthouse.wire.signing.places import ORDER, Spot, sent_text
from posthouse.wire.signing.texts import Known, SentText, SignedText, Turn, bounded, encoded, is_of_url, literal
from posthouse_sdk.digests import mac

_SIGNATURE: Final = "signature"


class CustomSigner:
    """Signs as one configuration says. Raises: Invalid, whose path begins with `path`."""

    __slots__ = (
        "_also",
        "_config",
        "_finish",
        "_keys",
        "_mac_key",
        "_pairs",
        "_parts",
        "_repeat",
        "_separator",
        "_signature",
        "_with_key",
        "signs_url",
    )

    def __init__(self, config: Configuration, keys: Keys, *, known: Known, path: str) -> None:
        self._config: Final = config
        bounded(config.key_id, f"{path}.key_id")
        self._mac_key: Final = _mac_key(config, known, f"{path}.mac_key")
        self._parts: Final = _parts(config, self._mac_key, known, path)
        self._separator: Final = literal(config.separator, config.charset, f"{path}.separator")
        self._with_key: Final = any("key" in part.names for part in self._parts)
        self._pairs: Final = (
            None if config.pairs is None else compile_pairs(config.pairs, config.signature, path=f"{path}.pairs")
        )
        also = [Spot(spot, known=known.sent, path=f"{path}.also[{i}]") for i, spot in enumerate(config.also)]
        self._also: Final = tuple(sorted(also, key=lambda spot: ORDER.index(spot.place)))
        self._signature: Final = Spot(
            config.signature, known=known.signature, path=f"{path}.signature", default="{signature}"
        )
        if _SIGNATURE not in self._signature.text.names:
            raise Invalid("the value lacks the {signature}", path=f"{path}.signature.value")
        self._repeat: Final = _repeat(config, known, path)
        self._keys: Final = self._keyed(keys, path)
        of_query = config.pairs is not None and config.pairs.source is PairSource.QUERY
        signed = (*self._parts, *(() if self._mac_key is None else (self._mac_key,)))
        told = frozenset().union(self._signature.text.names, *(spot.text.names for spot in also))
        self.signs_url: Final = of_query or any(map(is_of_url, told.union(*(text.names for text in signed))))
        """Whether it tells of the URL, so that nothing may be added to that afterwards."""
        self._finish: Final = keys.finish

    def _keyed(self, keys: Keys, path: str) -> tuple[Keyed, ...]:
        texts = keys.live(self._config.key, self._config.key_encoding, f"{path}.key")
        used = texts if self._repeat is not None else texts[:1]
        made = tuple(keyed(self._config.algorithm, text) for text in used)
        if self._with_key and made[0].secret is None:
            raise Invalid("a private key is never among the parts", path=f"{path}.parts")
        return made

    def apply(self, message: Message) -> None:
        turn = Turn(message, key_id=self._config.key_id)
        turn.pairs = self._pairs
        for spot in self._also:
            spot.fill(turn)
        self._signature.prepare(turn)
        texts: list[str] = []
        content: bytes | None = None
        for key in self._keys:
            turn.secret = key.secret
            if content is None or self._with_key:
                content = self._content(turn)
            if self._mac_key is None or key.only_told:
                sign = key.sign
            else:
                sign = mac(HMACS[self._config.algorithm], self._mac_key.of(turn))
            turn.signature = encoded(self._finish(sign(content)), self._config.encoding)
            text = self._signature.text if not texts or self._repeat is None else self._repeat
            texts.append(text.of(turn))
        self._signature.put(message, "".join(texts))

    def _content(self, turn: Turn) -> bytes:
        parts = [part.of(turn) for part in self._parts]
        if self._config.order is Order.SORTED:
            parts.sort()
        return self._separator.join(parts)


def _mac_key(config: Configuration, known: Known, path: str) -> SignedText | None:
    if not config.mac_key:
        return None
    if config.algorithm not in HMACS:
        raise Invalid(f"{config.algorithm} has no key that could be made of others: only an HMAC has", path=path)
    text = SignedText(config.mac_key, known=known.mac_key, path=path, charset=config.charset)
    if "key" not in text.names:
        raise Invalid("the MAC's key is made without the key: anybody could make it", path=path)
    return text


def _parts(config: Configuration, mac_key: SignedText | None, known: Known, path: str) -> tuple[SignedText, ...]:
    where = f"{path}.parts"
    if not (mac_key is not None or config.parts) or len(config.parts) > SIGNED_PARTS_MAX:
        raise Invalid(f"there are 1 to {SIGNED_PARTS_MAX} parts to sign", path=where)
    parts = tuple(
        SignedText(text, known=known.signed, path=f"{where}[{i}]", charset=config.charset)
        for i, text in enumerate(config.parts)
    )
    names: frozenset[str] = frozenset().union(*(part.names for part in parts))
    if not names.union(mac_key.names if mac_key is not None else ()) - {"key"}:
        raise Invalid("nothing of the message is among the parts: every signature would be the same", path=where)
    if config.algorithm in DIGESTS and "key" not in names:
        raise Invalid(f"{config.algorithm} has no key of its own: {{key}} must be among the parts", path=where)
    if "pairs" in names and config.pairs is None:
        raise Invalid("the parts name {pairs}: say which these are", path=f"{path}.pairs")
    if "pairs" not in names and config.pairs is not None:
        raise Invalid("no part names {pairs}, so that they are not signed", path=f"{path}.pairs")
    return parts


def _repeat(config: Configuration, known: Known, path: str) -> SentText | None:
    if not config.repeat:
        return None
    where = f"{path}.repeat"
    text = sent_text(config.repeat, config.signature.place, known=known.signature, path=where, continues=True)
    if _SIGNATURE not in text.names:
        raise Invalid("what is repeated lacks the {signature}", path=where)
    return text
