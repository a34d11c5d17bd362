"""Profiles: what a file must be, and what naming one makes of an endpoint."""

from __future__ import annotations

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from posthouse.domain.endpoint import EndpointConfig, Format, Timeouts
from posthouse.domain.errors import Invalid, NotFound, SetupError
from posthouse.domain.formats import Method
from posthouse.domain.profile import Profile
from posthouse.domain.retry import RetrySettings
from posthouse.manage.endpoint_change import EndpointChange
from posthouse.manage.profiles import Profiles, blaming, fields_of, in_directory, load, schema, shipped

ACME = """
name = "acme"
title = "Acme"
about = "As Acme sends."

[[keys]]
name = "token"
about = "The token."

[[settings]]
name = "shop"
about = "The shop's number."

[[settings]]
name = "zone"
about = "Where it is."
default = "eu"

[endpoint]
format = "raw"
method = "PUT"
headers = { X-Shop = "${shop}/${zone}" }
retry = { schedule = [1, 2] }
"""
OTHER = """
name = "other"
title = "Other"
about = "As others send."

[endpoint]
method = "PATCH"
timeouts = { total = 3 }
"""
BLANK = EndpointConfig(url="https://example.com/")
BOTH = Profiles([load(ACME), load(OTHER)])
SHOP = {"shop": "42"}


def after(old: EndpointConfig, profiles: Profiles = BOTH, **fields: Any) -> EndpointConfig:
    """The configuration after a change, as `changed` makes it."""
    given = profiles.expanded(old, EndpointChange(**fields)).given()
    defaults = EndpointConfig(url="")
    return replace(old, **{name: getattr(defaults, name) if v is None else v for name, v in given.items()})


# Files


@pytest.mark.parametrize(
    ("old", "new", "path", "told"),
    [
        ('name = "acme"', 'name = "Acme"', "name", "small letters"),
        ('name = "acme"', 'name = "acme', "", "not TOML"),
        ('title = "Acme"', "", "", "title"),
        ('about = "As Acme sends."', 'about = "x"\nvendor = 1', "vendor", "unknown field"),
        ('format = "raw"', 'format = "row"', "endpoint.format", "json, raw"),
        ('format = "raw"', 'url = "https://x.example/"', "endpoint.url", "no such field"),
        ('format = "raw"', 'formt = "raw"', "endpoint.formt", "no such field"),
        ("${zone}", "${planet}", "endpoint.headers.X-Shop", "no setting 'planet'"),
        ('method = "PUT"', 'method = "BREW"', "endpoint.method", "PATCH"),
        ("schedule = [1, 2]", "schedule = []", "endpoint.retry.schedule", "1 to 100"),
        ('format = "raw"', 'format = "raw"\nack = "response.body.code =="', "", ""),
        ('name = "zone"', 'name = "shop"', "settings", "once"),
        ("X-Shop", '"X Shop"', "endpoint.headers", "header"),
    ],
)
def test_a_file_that_is_wrong_says_where(old: str, new: str, path: str, told: str) -> None:
    text = ACME.replace(old, new, 1)
    assert text != ACME
    if not told:  # an expression is read where an endpoint names the profile
        load(text)
        return
    with pytest.raises(Invalid, match=told) as refused:
        load(text)
    assert refused.value.path.startswith(path)


def test_a_file_is_bounded_and_named_as_its_profile() -> None:
    with pytest.raises(Invalid, match="at most"):
        load(ACME + "#" * 100_000)
    with pytest.raises(Invalid, match=r"acne\.toml"):
        load(ACME, name="acne")


def test_an_operators_own_are_read_from_a_folder(tmp_path: Path) -> None:
    (tmp_path / "acme.toml").write_text(ACME)
    (tmp_path / "notes.txt").write_text("not a profile")
    assert [profile.name for profile in in_directory(tmp_path)] == ["acme"]
    (tmp_path / "bad.toml").write_text("name = 1")
    with pytest.raises(SetupError, match=r"bad\.toml"):
        in_directory(tmp_path)
    with pytest.raises(SetupError, match="cannot be read"):
        in_directory(tmp_path / "nowhere")


def test_no_two_have_the_same_name() -> None:
    with pytest.raises(SetupError, match="two profiles 'acme'"):
        Profiles([load(ACME)], [load(ACME)])


SHIPPED = shipped()


@pytest.mark.parametrize("profile", SHIPPED, ids=lambda profile: profile.name)
def test_each_that_is_shipped_is_as_the_published_schema_says(profile: Profile) -> None:
    file = resources.files("posthouse_sdk.profiles") / f"{profile.name}.toml"
    jsonschema_rs.validator_for(schema()).validate(tomllib.loads(file.read_text("utf-8")))
    assert profile.title
    assert profile.about
    assert all(key.about for key in profile.keys)


def test_the_schema_refuses_what_reading_refuses() -> None:
    check = jsonschema_rs.validator_for(schema())
    assert check.is_valid(tomllib.loads(ACME))
    assert not check.is_valid(tomllib.loads(ACME.replace("format = ", "formt = ")))
    assert not check.is_valid(tomllib.loads(ACME.replace('"raw"', '"row"')) | {"name": 1})


# Settings


def test_settings_are_filled_in() -> None:
    fields = fields_of(load(ACME), SHOP)
    assert fields["headers"] == {"X-Shop": "42/eu"}
    assert fields["method"] is Method.PUT
    assert fields_of(load(ACME), SHOP | {"zone": "亚洲"})["headers"] == {"X-Shop": "42/亚洲"}


@pytest.mark.parametrize(
    ("settings", "path", "told"),
    [
        ({}, "profile_settings.shop", "The shop's number"),
        ({"shop": "1", "moon": "x"}, "profile_settings.moon", "it has: shop, zone"),
        ({"shop": ""}, "profile_settings.shop", "1 to 256"),
        ({"shop": "{event.id}"}, "profile_settings.shop", "1 to 256"),
        ({"shop": "a\r\nX-Evil: 1"}, "profile_settings.shop", "1 to 256"),
        ({"shop": "'+secret+'"}, "profile_settings.shop", "1 to 256"),
        ({"shop": "${zone}"}, "profile_settings.shop", "1 to 256"),
    ],
)
def test_settings_that_are_wrong_are_refused(settings: dict[str, str], path: str, told: str) -> None:
    with pytest.raises(Invalid, match=told) as refused:
        fields_of(load(ACME), settings)
    assert refused.value.path == path


# What naming one makes of an endpoint


def test_naming_one_writes_its_fields() -> None:
    config = after(BLANK, profile="acme", profile_settings=SHOP)
    assert (config.format, config.method, config.headers) == (Format.RAW, Method.PUT, {"X-Shop": "42/eu"})
    assert config.retry == RetrySettings(schedule=(1.0, 2.0))
    assert (config.profile, config.profile_settings) == ("acme", SHOP)


def test_what_is_given_beside_it_counts_before_it_and_null_does_not() -> None:
    config = after(BLANK, profile="acme", profile_settings=SHOP, method=Method.GET, retry=None)
    assert config.method is Method.GET
    assert config.retry == RetrySettings(schedule=(1.0, 2.0))


def test_another_one_replaces_what_came_from_the_first_alone() -> None:
    config = after(BLANK, profile="acme", profile_settings=SHOP, headers={"X": "1"})
    config = after(config, profile="other")
    assert config.method is Method.PATCH
    assert config.format is Format.JSON, "the first one's is gone"
    assert config.retry == RetrySettings()
    assert config.headers == {"X": "1"}, "it was set"
    assert config.timeouts == Timeouts(total=3.0)
    assert (config.profile, config.profile_settings) == ("other", {})


def test_other_settings_are_filled_in_again() -> None:
    config = after(BLANK, profile="acme", profile_settings=SHOP)
    assert after(config, profile_settings={"shop": "7"}).headers == {"X-Shop": "7/eu"}
    mine = after(config, headers={"X-Shop": "mine"})
    assert after(mine, profile_settings={"shop": "7"}).headers == {"X-Shop": "mine"}
    assert after(mine, headers=None).headers == {"X-Shop": "42/eu"}, "null brings the profile's back"


def test_without_one_the_defaults_come_back() -> None:
    config = after(BLANK, profile="acme", profile_settings=SHOP, method=Method.GET)
    assert after(config, profile=None) == replace(BLANK, method=Method.GET)


def test_another_change_leaves_all_as_it_is() -> None:
    config = after(BLANK, profile="acme", profile_settings=SHOP)
    assert after(config, description="x") == replace(config, description="x")


def test_one_that_has_become_another_leaves_the_endpoint_as_it_is() -> None:
    """After an upgrade of Posthouse, or of an operator's file."""
    config = after(BLANK, profile="acme", profile_settings=SHOP)
    needs_more = ACME + '[[settings]]\nname = "planet"\nabout = "Where."\n'
    newer = Profiles(
        [load(needs_more.replace('method = "PUT"', 'method = "PATCH"').replace("[endpoint]", "[endpoint]"))]
    )
    assert after(config, newer, description="x", url="https://example.com/2") == replace(
        config, description="x", url="https://example.com/2"
    )
    assert after(config, newer, method=None).method is Method.POST, "its value is not known with these settings"


def test_one_that_is_not_there_any_more_leaves_what_it_wrote() -> None:
    config = after(BLANK, profile="acme", profile_settings=SHOP)
    none = Profiles([load(OTHER)])
    assert after(config, none, description="x") == replace(config, description="x")
    assert after(config, none, profile="other").method is Method.PUT, "it counts as set"


@pytest.mark.parametrize(
    ("fields", "path"), [({"profile": "acne"}, "profile"), ({"profile_settings": SHOP}, "profile_settings")]
)
def test_a_name_that_is_none_is_refused(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(Invalid) as refused:
        after(BLANK, **fields)
    assert refused.value.path == path


def test_reading_one_by_its_name() -> None:
    assert [profile.name for profile in BOTH.all()] == ["acme", "other"]
    assert BOTH.get("acme").title == "Acme"
    with pytest.raises(NotFound):
        BOTH.get("acne")


@given(
    st.lists(
        st.fixed_dictionaries(
            {},
            optional={
                "profile": st.sampled_from([None, "other"]),
                "method": st.sampled_from([None, Method.GET, Method.PUT]),
                "timeouts": st.sampled_from([None, Timeouts(total=9.0)]),
                "description": st.just("x"),
            },
        ),
        max_size=6,
    )
)
def test_what_is_stored_is_what_one_change_would_have_made(changes: list[dict[str, Any]]) -> None:
    """Whatever came before: the fields that somebody set (to something else than a profile has), over the profile's."""
    config = BLANK
    said: dict[str, Any] = {}
    for change in changes:
        config = after(config, **change)
        said.update(change)
    again: dict[str, Any] = {name: getattr(config, name) or None for name in ("profile", "method", "timeouts")}
    assert after(config, **again) == config
    whole = after(BLANK, **said)
    own = {name: value for name, value in said.items() if value is not None and name != "profile"}
    assert {name: getattr(config, name) for name in own} == {name: getattr(whole, name) for name in own}


def test_what_goes_wrong_with_its_fields_is_said_to_be_its() -> None:
    acme = load(ACME)
    change = EndpointChange(profile="acme", method=Method.GET)
    with pytest.raises(Invalid, match=r"the profile acme cannot be used so: no") as refused, blaming(change, acme):
        raise Invalid("no", path="headers.X-Shop", code="c")
    assert (refused.value.path, refused.value.code) == ("headers.X-Shop", "c")
    with pytest.raises(Invalid, match=r"^no$"), blaming(change, acme):
        raise Invalid("no", path="method")
    with pytest.raises(Invalid, match=r"^no$"), blaming(change, acme):
        raise Invalid("no", path="url")
