"""What an endpoint says of how it is spoken to: format, method, query, compression, pinned versions of payloads,
signatures, encryption, and whether answers are encrypted, too."""

from __future__ import annotations

from functools import partial
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import Field, WithJsonSchema

from posthouse.api.models.common import Answer, Body
from posthouse.api.models.structs import schema_of
from posthouse.domain.encryption import DecryptAnswer, Encryption
from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.fields import read_field
from posthouse.domain.formats import KINDS, AnyFormat, Compression, Method
from posthouse.domain.limits import PAYLOAD_VERSIONS_MAX, QUERY_PARAMETERS_MAX, SIGNERS_MAX
from posthouse.domain.signing import Signer

MethodName = Literal["POST", "GET", "PUT", "PATCH", "DELETE"]
DecryptAnswerName = Literal["never", "optional", "required"]

_FORMAT: Final = {"anyOf": [{"enum": list(KINDS)}, *schema_of(AnyFormat)["anyOf"]]}
_SIGNING: Final = {"type": "array", "maxItems": SIGNERS_MAX, "items": schema_of(Signer)}
_ENCRYPTION: Final = schema_of(Encryption)

FormatValue = Annotated[Any, WithJsonSchema(_FORMAT)]
SigningValue = Annotated[Any, WithJsonSchema(_SIGNING)]
EncryptionValue = Annotated[Any, WithJsonSchema(_ENCRYPTION)]


class SpeechFields(Body):
    """What of this an endpoint and a change of one have in common."""

    format: Annotated[
        FormatValue | None,
        Field(
            description="How events are written: json (the standard envelope), raw, xml, form or cloudevents, by name or as an "
            "object with kind and options. Default: json.",
            examples=["cloudevents", {"kind": "xml", "root": "order"}],
        ),
    ] = None
    method: Annotated[
        MethodName | None,
        Field(description="A GET carries its data in the query, and takes the format form. Default: POST."),
    ] = None
    query: Annotated[
        dict[str, str] | None,
        Field(
            description="Parameters added to the URL's own; values are templates, as those of headers are.",
            json_schema_extra={"maxProperties": QUERY_PARAMETERS_MAX},
            examples=[{"event": "{event.type}"}],
        ),
    ] = None
    compress: Annotated[
        Literal["gzip"] | None, Field(description="Compress bodies that gain by it. Default: none.")
    ] = None
    payload_versions: Annotated[
        dict[str, Annotated[int, Field(json_schema_extra={"minimum": 1})]] | None,
        Field(
            description="Event types of which it goes on getting payloads as a version of the schema knew them, without the "
            "fields that were added since. Default: none.",
            json_schema_extra={"maxProperties": PAYLOAD_VERSIONS_MAX},
            examples=[{"order.created": 3}],
        ),
    ] = None
    signing: Annotated[
        SigningValue | None,
        Field(
            description="Signatures, all of which are made: standard, custom, jwt and http. An empty list signs nothing. "
            "Default: Standard Webhooks with the endpoint's secret.",
            examples=[[{"kind": "standard"}]],
        ),
    ] = None
    encryption: Annotated[
        EncryptionValue | None,
        Field(
            description="How bodies, or fields of them, are encrypted: jwe, envelope or hybrid. Default: none.",
            examples=[{"kind": "jwe", "algorithm": "RSA-OAEP-256", "key": "theirs"}],
        ),
    ] = None
    decrypt_answer: Annotated[
        DecryptAnswerName | None,
        Field(
            description="Whether answers are encrypted as requests are (kind envelope). optional: what does not open is taken "
            "as it came. required: then it does not confirm. Default: never."
        ),
    ] = None


DOMAIN: Final[dict[str, Any]] = {
    "format": partial(read_field, "format"),
    "method": Method,
    "query": dict,
    "compress": Compression,
    "payload_versions": dict,
    "signing": partial(read_field, "signing"),
    "encryption": partial(read_field, "encryption"),
    "decrypt_answer": DecryptAnswer,
}
"""What a given field of these is in the domain's words. Raises Invalid with the path of what is wrong."""


class SpeechAnswer(Answer):
    """What of this an endpoint and its revisions tell."""

    format: FormatValue
    method: MethodName
    query: dict[str, str]
    compress: Literal["gzip"] | None
    payload_versions: dict[str, int]
    signing: Annotated[SigningValue | None, Field(description="null: Standard Webhooks with the endpoint's secret.")]
    encryption: EncryptionValue | None
    decrypt_answer: DecryptAnswerName


def speech_fields(config: EndpointConfig) -> dict[str, Any]:
    """The fields of `SpeechAnswer`."""
    return {
        "format": msgspec.to_builtins(config.format),
        "method": config.method.value,
        "query": config.query,
        "compress": None if config.compress is None else config.compress.value,
        "payload_versions": config.payload_versions,
        "signing": None if config.signing is None else msgspec.to_builtins(config.signing),
        "encryption": None if config.encryption is None else msgspec.to_builtins(config.encryption),
        "decrypt_answer": config.decrypt_answer.value,
    }
