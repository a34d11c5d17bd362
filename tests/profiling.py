"""Requests of a profile's endpoint as the server makes them, and as a receiver has them."""

from __future__ import annotations

import base64
import random
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, Final, NamedTuple

import h11
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from posthouse.domain.endpoint import EndpointConfig, Secret
from posthouse.domain.event import Event
from posthouse.domain.exchange import Request
from posthouse.domain.ids import AppId, EndpointId, EventId
from posthouse.domain.named_keys import NamedKeys
from posthouse.manage.profiles import fields_of, load, shipped
from posthouse.wire.renderer import renderer_of
from posthouse_sdk import HmacKey, profiles

NOW: Final = 1767323050.9
SECRET_BYTES: Final = bytes(range(32))
SECRET: Final = HmacKey(SECRET_BYTES).text
"""The endpoint's own."""
URL: Final = "https://isv.example/hook?shop=7"
PAYLOAD: Final = '{"order":"A-1","name":"驿站","total":1.50,"paid":true}'.encode()


class Sent(NamedTuple):
    """A request on its way."""

    method: str
    url: str
    headers: dict[str, str]
    body: bytes


def event(type: str = "order.created", payload: bytes = PAYLOAD, content_type: str = "application/json") -> Event:
    return Event(
        id=EventId(bytes(range(16))),
        partition=0,
        seq=1,
        app_id=AppId(bytes(16)),
        type=type,
        payload=payload,
        content_type=content_type,
        created_at=1767323045.678,
        config_version=1,
    )


def sent_by(
    source: str,
    keys: Mapping[str, str | Sequence[str]],
    settings: Mapping[str, str] | None = None,
    *,
    of: Event | None = None,
    now: float = NOW,
    url: str = URL,
) -> Sent:
    """What an endpoint of a profile (the name of one that is shipped, or its TOML) is sent of an event."""
    profile = load(source) if "\n" in source else next(each for each in shipped() if each.name == source)
    return sent(fields_of(profile, settings or {}), keys, of=of, now=now, url=url)


def sent(
    fields: Mapping[str, Any],
    keys: Mapping[str, str | Sequence[str]],
    *,
    of: Event | None = None,
    now: float = NOW,
    url: str = URL,
) -> Sent:
    """The same of an endpoint's fields, in the domain's words."""
    texts = {name: (text,) if isinstance(text, str) else tuple(text) for name, text in keys.items()}
    endpoint = EndpointConfig(url=url, **fields).endpoint(
        id=EndpointId(bytes(16)),
        app_id=AppId(bytes(16)),
        partition=0,
        revision=1,
        secrets=(Secret("v1", SECRET_BYTES),),
        keys=NamedKeys(texts),
    )
    renderer = renderer_of(endpoint, random=random.Random(7).randbytes)
    return read(renderer.render(of or event(), now=now, replay=False), url)


def read(request: Request, url: str) -> Sent:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(request.head + request.body)
    head = connection.next_event()
    assert isinstance(head, h11.Request)
    origin = "/".join(url.split("/", 3)[:3])
    headers = {name.decode(): value.decode("latin-1") for name, value in head.headers.raw_items()}
    return Sent(head.method.decode(), origin + head.target.decode(), headers, request.body)


LETTERS = "abcdefghijklmnopqrstuvwxyz012345"
TEXTS = {
    "letters": LETTERS,
    "hex": LETTERS.encode().hex(),
    "base64": base64.b64encode(LETTERS.encode()).decode(),
    "aes-key": base64.b64encode(LETTERS.encode()).decode().rstrip("="),
    "ed25519": LETTERS.encode().hex(),
}


@cache
def rsa_pair() -> tuple[str, str]:
    key = rsa.generate_private_key(65537, 2048)
    public = key.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(), public.decode()


def pair(make: str) -> tuple[str, str]:
    """A key as the endpoint and as the target has it."""
    if make == "rsa":
        return rsa_pair()
    if make == "ed25519":
        key = Ed25519PrivateKey.from_private_bytes(LETTERS.encode())
        return TEXTS[make], key.public_key().public_bytes_raw().hex()
    return TEXTS[make], TEXTS[make]


def told(name: str) -> dict[str, Any]:
    return tomllib.loads((Path(profiles.__file__).parent / f"{name}.toml").read_text("utf-8"))


def given_to(name: str) -> tuple[dict[str, str], dict[str, str], dict[str, str]]:
    """The keys of an endpoint of a profile, those of its target, and the settings."""
    profile = told(name)
    keys = {key["name"]: pair(key.get("make", "letters")) for key in profile.get("keys", ())}
    settings = {each["name"]: "sample" for each in profile.get("settings", ()) if "default" not in each}
    there = {"secret": SECRET} | {key: text for key, (_, text) in keys.items()}
    return {key: here for key, (here, _) in keys.items()}, there, settings
