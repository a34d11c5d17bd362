"""Configuration and keys, made into the step that encrypts.

Everything is judged here, when an endpoint is written and when it is loaded: the settings by
`posthouse_sdk.encryption.settings`, the keys by using them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final

import msgspec

from posthouse.domain.encryption import Encryption
from posthouse.domain.errors import Invalid
from posthouse.domain.limits import NAME_LENGTH_MAX
from posthouse.wire.encryption.sealers import Sealer, sealer
from posthouse.wire.encryption.step import Encrypt
from posthouse.wire.formats.xml import escaped_name
from posthouse.wire.headers import check_headers, is_content_type
from posthouse.wire.message import Step
from posthouse.wire.template import EVENT_VALUES, REQUEST_VALUES
from posthouse_sdk.encryption.errors import SettingError
from posthouse_sdk.encryption.settings import Settings, settings_of
from posthouse_sdk.encryption.shapes import FormBody, XmlBody
from posthouse_sdk.encryption.templates import SEALED, shown

PATH: Final = "encryption"
VARIABLES: Final = EVENT_VALUES | REQUEST_VALUES


def compile_encryption(
    config: Encryption,
    keys: Mapping[str, Sequence[str]],
    *,
    method: str = "POST",
    json_body: bool = True,
    variables: Collection[str] = VARIABLES,
) -> Step:
    """The step that encrypts as `config` says; `keys` are texts by name, newest first.

    `json_body` is whether the endpoint's format writes JSON, `variables` what its templates may name of a message (of a
    batch nothing of an event).

    Raises: Invalid, whose path begins with `encryption`, and whose text holds nothing of a key.
    """
    if method.upper() in ("GET", "HEAD"):
        raise Invalid(f"a {method.upper()} has no body that could be encrypted: take POST or PUT", path=PATH)
    try:
        settings = settings_of(msgspec.to_builtins(config))
        if settings.fields and not json_body:
            raise SettingError("fields are those of a JSON body, and this format writes none: leave them out", "fields")
        _check_variables(settings, variables)
        _check_told(settings)
        texts = keys.get(settings.key)
        if not texts:
            raise SettingError("the endpoint has no key of this name", "key")
        made: Sealer = sealer(settings, texts)
    except SettingError as error:
        raise Invalid(str(error), path=f"{PATH}.{error.path}" if error.path else PATH) from None
    return Encrypt(settings, made)


def _check_variables(settings: Settings, variables: Collection[str]) -> None:
    places = (
        *settings.body.leaves(),
        *((f"headers.{name}", template) for name, template in settings.headers),
        *((f"query.{name}", template) for name, template in settings.query),
    )
    sealing = getattr(settings, "sealing", None)
    if sealing is not None:
        places = (*places, ("associated_data", sealing.associated_data))
    for path, template in places:
        for name in template.names:
            if name not in variables and name not in SEALED:
                known = ", ".join(sorted({*variables, *SEALED}))
                raise SettingError(f"there is no {shown(name[:NAME_LENGTH_MAX])} here; there are {known}", path)


def _check_told(settings: Settings) -> None:
    """What goes into a request's head. The rest is checked with each request: what a template names is known then."""
    try:
        check_headers(
            (name, template.written(dict.fromkeys(template.names, "0")) or "0") for name, template in settings.headers
        )
    except Invalid as error:
        raise SettingError(str(error), error.path) from None
    for name, template in settings.query:
        if not (0 < len(name) <= NAME_LENGTH_MAX and name.isprintable() and template.text.isprintable()):
            raise SettingError(f"a parameter is a name of 1 to {NAME_LENGTH_MAX} characters, without controls", "query")
    if isinstance(settings.body, XmlBody):
        for name in (settings.body.root, *(name for name, _ in settings.body.elements)):
            if escaped_name(name) != name:
                raise SettingError(
                    "XML would read this name as another one: leave out _x and four digits", "body.elements"
                )
    if not isinstance(settings.body, FormBody) and not is_content_type(settings.body.content_type):
        raise SettingError("this is no content type: a media type, printable ASCII", "body.content_type")
