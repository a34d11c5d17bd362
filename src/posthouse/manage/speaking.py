"""Whether an endpoint, as it is configured, can be spoken to: with its keys, and as the operator allows. Pure."""

from __future__ import annotations

from typing import Final

from posthouse.domain.access import Principal
from posthouse.domain.balance import urls_of
from posthouse.domain.egress import AllowedEgress
from posthouse.domain.endpoint import Endpoint, EndpointConfig, Secret
from posthouse.domain.errors import Invalid
from posthouse.domain.ids import ID_BYTES, AppId, EndpointId
from posthouse.domain.named_keys import NamedKeys
from posthouse.manage.transform_check import with_samples
from posthouse.wire.renderer import renderer_of
from posthouse.wire.url_template import UrlTemplate
from posthouse_sdk.signatures import HMAC_KEY_BYTES

_NOBODY: Final = bytes(ID_BYTES)
_ANY: Final = "true"  # whatever the schemas that it pins say, they take nothing from the smallest event
_SECRET: Final = Secret("v1", bytes(HMAC_KEY_BYTES))  # whatever the endpoint's own is, it can sign


def check_speakable(config: EndpointConfig, keys: NamedKeys) -> None:
    """Make ready for every URL of an endpoint what its requests are made with, and throw it away.

    Raises Invalid with the path of the field that is wrong.
    """
    endpoint = on_trial(with_samples(config), keys)
    added = () if config.transform is None else (*config.transform.headers, *config.transform.query)
    for url in _urls(config):
        try:
            renderer_of(endpoint, random=bytes, url=url)
        except Invalid as error:
            field, _, name = error.path.partition(".")
            if field in ("headers", "query") and name in added:
                raise Invalid(str(error), path=f"transform.{error.path}", code=error.code) from None
            raise


def on_trial(config: EndpointConfig, keys: NamedKeys) -> Endpoint:
    """An endpoint so configured, of nobody: for requests that are made ready and thrown away."""
    return config.endpoint(
        id=EndpointId(_NOBODY),
        app_id=AppId(_NOBODY),
        partition=0,
        revision=0,
        secrets=(_SECRET,),
        keys=keys,
        pinned_schemas=dict.fromkeys(config.payload_versions, _ANY),
    )


def _urls(config: EndpointConfig) -> list[str]:
    """All of them, and those that an event may have."""
    urls = list(urls_of(config))
    dynamic = config.dynamic_url
    if dynamic is not None:
        urls += dynamic.among.values()
        if dynamic.template:
            sample = UrlTemplate(dynamic.template, dynamic.hosts, path="dynamic_url").sample
            urls.append(f"{sample.scheme}://{sample.authority}{sample.path}")
    return urls


def check_egress(old: EndpointConfig, new: EndpointConfig, principal: Principal, allowed: AllowedEgress) -> None:
    """Whether a principal may have the proxy and the source address of an endpoint changed so. What stays is not judged: the
    operator may have taken it away since, and then its deliveries wait. Raises Invalid."""
    if (new.proxy, new.proxy_key) != (old.proxy, old.proxy_key):
        if not principal.admin and not allowed.apps_choose_proxy:
            was = f"it is {old.proxy!r}" if old.proxy else "there is none"
            raise Invalid(f"only a key of scope admin changes the proxy of an endpoint here; {was}", path="proxy")
        if new.proxy and new.proxy not in allowed.proxies:
            raise Invalid(f"there is no such proxy; there are: {_listed(allowed.proxies)}", path="proxy")
    source = new.source_address
    if source and source != old.source_address and source not in allowed.source_addresses:
        raise Invalid(
            f"requests cannot come from this address; they can from: {_listed(allowed.source_addresses)}",
            path="source_address",
        )


def _listed(names: frozenset[str]) -> str:
    return ", ".join(sorted(names)) or "none"
