"""Profiles: presets of how an endpoint is spoken to."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import Field

from posthouse.api.models.common import Answer
from posthouse.api.texts.accepted import Language
from posthouse.api.texts.descriptions import described, titled
from posthouse.domain.profile import Profile


class ProfileKeyAnswer(Answer):
    """A key that its endpoints have."""

    name: str
    about: str
    make: Annotated[str | None, Field(description="How one is made where none is given; null: it must be given.")]


class ProfileSettingAnswer(Answer):
    """What it has to be told."""

    name: str
    about: str
    default: Annotated[str | None, Field(description="null: it must be given.")]


class ProfileAnswer(Answer):
    """A preset of how an endpoint is spoken to."""

    name: Annotated[str, Field(examples=["github"])]
    title: str
    about: str
    source: Annotated[str, Field(description="Where the platform documents it.")]
    keys: list[ProfileKeyAnswer]
    settings: list[ProfileSettingAnswer]
    endpoint: Annotated[dict[str, Any], Field(description="The fields that it writes; ${name} stands for a setting.")]
    receive: Annotated[dict[str, Any], Field(description="How the receiving side reads what is sent.")]

    @classmethod
    def of(cls, profile: Profile, language: Language) -> ProfileAnswer:
        return cls(
            name=profile.name,
            title=titled(profile.title, language),
            about=described(profile.about, language),
            source=profile.source,
            keys=[
                ProfileKeyAnswer(name=key.name, about=described(key.about, language), make=key.make)
                for key in profile.keys
            ],
            settings=[
                ProfileSettingAnswer(name=each.name, about=described(each.about, language), default=each.default)
                for each in profile.settings
            ],
            endpoint=profile.endpoint,
            receive=msgspec.to_builtins(profile.receive),
        )


class ProfileList(Answer):
    """All of them, by name."""

    data: list[ProfileAnswer]
