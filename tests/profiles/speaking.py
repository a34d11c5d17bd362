"""Events as a profile sends them, read by the server at the other end."""

from __future__ import annotations

import json
import random
from collections.abc import Mapping
from decimal import Decimal
from functools import cache
from importlib import resources
from typing import Any, Final

import msgspec
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from tests.messages import NOW, Received, signed

from posthouse.domain.endpoint import Endpoint, EndpointConfig
from posthouse.domain.event import Event
from posthouse.domain.ids import ENDPOINT, EVENT, AppId, EndpointId, EventId, format_id
from posthouse.domain.named_keys import NamedKeys
from posthouse.domain.profile import Profile
from posthouse.manage.endpoint_secrets import secret_of
from posthouse.manage.profiles import fields_of, load
from posthouse.wire.message import Message
from posthouse.wire.renderer import renderer_of

EVENT_BYTES: Final = bytes(range(16))
ID: Final = format_id(EVENT, EVENT_BYTES)
ENDPOINT_ID: Final = format_id(ENDPOINT, bytes(16))
CREATED: Final = NOW - 10  # 2021-02-25T15:02:00.250Z
URL: Final = "https://isv.example/hook?shop=42"
PAYLOAD: Final = (
    '{"orderId":"驿站 42","amount":{"value":1130,"currency":"EUR"},"rate":1.50,"big":12345678901234567890,'
    '"items":[{"sku":"a<b>&\\"c\\"","count":2}],"gift":true,"note":""}'
).encode()
DATA: Final = json.loads(PAYLOAD, parse_float=Decimal)
TYPE: Final = "order.paid"


@cache
def shipped(name: str) -> Profile:
    """A profile that comes with Posthouse."""
    return load((resources.files("posthouse_sdk.profiles") / f"{name}.toml").read_text("utf-8"), name=name)


def config_of(profile: Profile, settings: dict[str, str] | None = None, **fields: Any) -> EndpointConfig:
    """An endpoint that names the profile and sets nothing itself, as it comes back from the store."""
    config = EndpointConfig(**{"url": URL} | fields_of(profile, settings or {}) | fields)
    assert msgspec.json.decode(msgspec.json.encode(config), type=EndpointConfig) == config
    return config


def endpoint_of(config: EndpointConfig, keys: Mapping[str, str | tuple[str, ...]], secret: str = "") -> Endpoint:
    """The endpoint with its keys, each a text or several, newest first, and with a signing secret of its own."""
    return config.endpoint(
        id=EndpointId(bytes(16)),
        app_id=AppId(bytes(16)),
        partition=0,
        revision=1,
        secrets=(secret_of(secret),) if secret else (),
        keys=NamedKeys({name: (text,) if isinstance(text, str) else text for name, text in keys.items()}),
    )


def sent(
    profile: Profile | str,
    *,
    keys: Mapping[str, str | tuple[str, ...]] | None = None,
    settings: dict[str, str] | None = None,
    payload: bytes = PAYLOAD,
    type: str = TYPE,
    now: float = NOW,
    secret: str = "",
    **fields: Any,
) -> Received:
    """The request that brings an event under this profile, with these keys."""
    found = shipped(profile) if isinstance(profile, str) else profile
    endpoint = endpoint_of(config_of(found, settings, **fields), keys or {}, secret)
    event = Event(
        id=EventId(EVENT_BYTES),
        partition=0,
        seq=1,
        app_id=None,
        type=type,
        payload=payload,
        content_type="application/json",
        created_at=CREATED,
        config_version=1,
        subject="shop:42",
    )
    renderer = renderer_of(endpoint, random=random.Random(7).randbytes)
    return Received(renderer.render(event, now=now, replay=False))


def signed_by(profile: str, message: Message, settings: dict[str, str] | None = None, **keys: str) -> Received:
    """A message that somebody else has published, signed as the profile signs."""
    signers = fields_of(shipped(profile), settings or {})["signing"]
    return signed(message, *msgspec.to_builtins(signers), keys=keys)


def encryption_of(profile: str, settings: dict[str, str] | None = None) -> dict[str, Any]:
    """The encryption of a profile, as a receiver is given it."""
    encryption: dict[str, Any] = msgspec.to_builtins(fields_of(shipped(profile), settings or {})["encryption"])
    return encryption


def read(text: bytes | str) -> Any:
    """JSON with its numbers as they were written."""
    return json.loads(text, parse_float=Decimal)


@cache
def rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(65537, 2048)


@cache
def rsa_pem() -> str:
    return rsa_key().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


@cache
def rsa_public_pem() -> str:
    return rsa_key().public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
