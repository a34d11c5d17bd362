"""Whether a transformation and a URL that depends on the event may be stored: all but their expressions. Pure."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from posthouse.domain.endpoint import EndpointConfig
from posthouse.domain.errors import Invalid
from posthouse.domain.exchange import Target
from posthouse.domain.limits import DYNAMIC_URLS_MAX, NAME_LENGTH_MAX, TRANSFORM_HEADERS_MAX, TRANSFORM_QUERY_MAX
from posthouse.domain.transformation import DynamicUrl, Transform
from posthouse.wire.data_schema import DataSchema
from posthouse.wire.headers import check_headers
from posthouse.wire.transforming import among_target
from posthouse.wire.url_template import UrlTemplate

SAMPLE: Final = "x"
"""What stands for the value of a header or a parameter that is made for each event."""


def check_transform(transform: Transform) -> None:
    """Raises Invalid with the path of what is wrong."""
    if not (transform.data or transform.headers or transform.query or transform.schema is not None):
        raise Invalid("say what it makes: data, headers, query or schema", path="transform")
    if len(transform.headers) > TRANSFORM_HEADERS_MAX:
        raise Invalid(f"a transformation adds at most {TRANSFORM_HEADERS_MAX} headers", path="transform.headers")
    if len(transform.query) > TRANSFORM_QUERY_MAX:
        raise Invalid(f"a transformation adds at most {TRANSFORM_QUERY_MAX} parameters", path="transform.query")
    try:
        check_headers((name, SAMPLE) for name in transform.headers)
    except Invalid as error:
        raise Invalid(str(error), path=f"transform.{error.path}") from None
    for name in transform.query:
        if not 0 < len(name) <= NAME_LENGTH_MAX or not name.isprintable():
            shown = name[:NAME_LENGTH_MAX].encode("unicode_escape").decode("ascii")
            raise Invalid(
                f"a parameter has a name of 1 to {NAME_LENGTH_MAX} characters without control characters",
                path=f"transform.query.{shown}",
            )
    if transform.schema is not None:
        DataSchema(transform.schema, path="transform.schema")


def dynamic_targets(url: DynamicUrl) -> list[tuple[str, str, Target]]:
    """All that is sure of where it leads, to be judged as every URL is: its path, its text, and the same taken apart.

    Raises Invalid with the path of what is wrong.
    """
    if bool(url.template) is bool(url.choose):
        raise Invalid("say either template or choose", path="dynamic_url")
    if url.template:
        if url.among:
            raise Invalid("these are what choose chooses among; a template has hosts", path="dynamic_url.among")
        template = UrlTemplate(url.template, url.hosts, path="dynamic_url")
        if template.host is not None:
            return [("dynamic_url.template", url.template, template.sample)]
        return [
            (f"dynamic_url.hosts[{index}]", url.hosts[index], msgspec.structs.replace(template.sample, host=host))
            for index, host in enumerate(template.hosts)
            if not host.startswith(".")
        ]
    if url.hosts:
        raise Invalid("these are for a template; choose has URLs that it chooses among", path="dynamic_url.hosts")
    if not 0 < len(url.among) <= DYNAMIC_URLS_MAX:
        raise Invalid(f"there are 1 to {DYNAMIC_URLS_MAX} URLs to choose among", path="dynamic_url.among")
    for name in url.among:
        if not 0 < len(name) <= NAME_LENGTH_MAX or not name.isprintable():
            shown = name[:NAME_LENGTH_MAX].encode("unicode_escape").decode("ascii")
            raise Invalid(
                f"a name has 1 to {NAME_LENGTH_MAX} characters without control characters",
                path=f"dynamic_url.among.{shown}",
            )
    return [(f"dynamic_url.among.{name}", text, among_target(name, text)) for name, text in url.among.items()]


def dynamic_urls(config: EndpointConfig) -> list[str]:
    """The texts of what `dynamic_targets` tells of a configuration that was checked."""
    url = config.dynamic_url
    return [] if url is None else [url.template, *url.hosts, *url.among.values()]


def check_with_others(config: EndpointConfig, given: dict[str, Any]) -> None:
    """What does not go together. Raises Invalid, whose path is of a field that was `given`, where one is to blame."""

    def refuse(why: str, ours: str, path: str, other: str) -> None:
        raise Invalid(why, path=path if given.get(ours) is not None or given.get(other) is None else other)

    transform, url = config.transform, config.dynamic_url
    if config.batch is not None and transform is not None:
        for name, made in (("headers", transform.headers), ("query", transform.query)):
            if made:
                refuse(
                    "a batch has one head for several events: of a transformation it takes the data alone",
                    "transform",
                    f"transform.{name}",
                    "batch",
                )
    if url is None:
        return
    others = (("batch", config.batch), ("equal_urls", config.equal_urls), ("fallback_urls", config.fallback_urls))
    for name, other in others:
        if other:
            refuse(
                f"an endpoint whose URL depends on the event has no {name}: each of its events has one URL",
                "dynamic_url",
                "dynamic_url",
                name,
            )


def with_samples(config: EndpointConfig) -> EndpointConfig:
    """The configuration with samples of the headers and parameters that its transformation adds, by which can be told whether
    its requests can be made. Raises Invalid with the path of one that is there already."""
    transform = config.transform
    if transform is None or not (transform.headers or transform.query):
        return config
    taken = {name.lower() for name in config.headers}
    for name in transform.headers:
        if name.lower() in taken:
            raise Invalid("the endpoint has this header already", path=f"transform.headers.{name}")
    for name in transform.query:
        if name in config.query:
            raise Invalid("the endpoint has this parameter already", path=f"transform.query.{name}")
    return msgspec.structs.replace(
        config,
        headers=config.headers | dict.fromkeys(transform.headers, SAMPLE),
        query=config.query | dict.fromkeys(transform.query, SAMPLE),
    )
