"""/v1/profiles"""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from posthouse.api.caller import Caller, Spoken
from posthouse.api.late_routes import late_router
from posthouse.api.models.profiles import ProfileAnswer, ProfileList
from posthouse.api.texts.descriptions import all_described
from posthouse.manage.profiles import Profiles, schema


def routes(profiles: Profiles) -> APIRouter:
    router = late_router(prefix="/v1/profiles", tags=["profiles"])

    @router.get("")
    async def list_profiles(caller: Caller, language: Spoken) -> ProfileList:
        """The presets that an endpoint may name: those that come with Posthouse, and the operator's own."""
        return ProfileList(data=[ProfileAnswer.of(profile, language) for profile in profiles.all()])

    @router.get("/schema")
    async def get_profile_schema(caller: Caller, language: Spoken) -> dict[str, Any]:
        """The JSON Schema of a profile's file, for who writes one."""
        told: dict[str, Any] = all_described(schema(), language)
        return told

    @router.get("/{profile}")
    async def get_profile(caller: Caller, profile: str, language: Spoken) -> ProfileAnswer:
        """One profile, with every field that it writes."""
        return ProfileAnswer.of(profiles.get(profile), language)

    return router
