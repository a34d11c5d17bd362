"""The profiles that come with Posthouse, as a table: what each of them makes of an endpoint."""

from __future__ import annotations

from typing import Any

from docs.text import Texts, table

from posthouse.api.texts.accepted import CHINESE, ENGLISH
from posthouse.api.texts.descriptions import titled
from posthouse.domain.profile import Profile
from posthouse.manage.profiles import shipped


def profiles_page(texts: Texts) -> str:
    """How each profile signs and encrypts, what confirms and what is asked first; its keys and settings."""
    words = texts["profiles"]
    profiles = shipped()
    spoken = [
        (
            f"[`{profile.name}`]({profile.source})",
            titled(profile.title, ENGLISH if texts["language"] == "en" else CHINESE),
            _signed(profile.endpoint, words),
            _code(profile.endpoint.get("encryption", {}).get("cipher", "")),
            _confirmed(profile.endpoint.get("ack"), profile.endpoint.get("decrypt_answer") == "required", words),
            _asked(profile.endpoint.get("handshake"), words),
        )
        for profile in profiles
    ]
    asked = [(_code(profile.name), _keys(profile, words), _settings(profile, words)) for profile in profiles]
    return texts.page(
        "profiles",
        table(words["columns"], spoken),
        f"## {words['asked_title']}",
        words["asked_intro"].strip(),
        table(words["asked_columns"], asked),
    )


def _signed(endpoint: dict[str, Any], words: Any) -> str:
    signers = endpoint.get("signing")
    if signers is None:
        return str(words["standard"])
    told = [f"{_code(each['algorithm'])} {_code(each['signature']['name'])}" for each in signers]
    auth = endpoint.get("auth")
    if auth is not None:
        told.append(f"{words['key_in']} {_code(auth['name'])}")
    return ", ".join(told)


def _confirmed(ack: Any, encrypted: bool, words: Any) -> str:
    """In words that no language needs."""
    match ack:
        case None:
            told = "2xx"
        case str():
            told = _code(ack)
        case {"any": several}:
            told = f" {words['or']} ".join(_confirmed(each, False, words) for each in several)
        case {"status": statuses}:
            told = ", ".join(map(str, statuses))
        case {"text": text}:
            told = _code(text) if text else str(words["nothing"])
        case _:
            told = _code(ack["when"])
    return f"{told} ({words['encrypted']})" if encrypted else told


def _asked(handshake: Any, words: Any) -> str:
    if handshake is None:
        return ""
    told = []
    for step in handshake["steps"]:
        match step["kind"]:
            case "options":
                told.append("OPTIONS")
            case "refusal":
                told.append(words["refusal"])
            case _:
                about = "" if step.get("method") == "GET" or "type" not in step else f" {_code(step['type'])}"
                told.append(step.get("method", "POST") + about)
    again = f"; {words['again'].format(hours=handshake['every'] // 3600)}" if "every" in handshake else ""
    return ", ".join(told) + again


def _keys(profile: Profile, words: Any) -> str:
    return ", ".join(f"{_code(key.name)} ({key.make.value if key.make else words['given']})" for key in profile.keys)


def _settings(profile: Profile, words: Any) -> str:
    return ", ".join(
        _code(each.name) + (f" ({words['given']})" if each.default is None else "") for each in profile.settings
    )


def _code(text: str) -> str:
    return f"`{text}`" if text else ""
