"""The pytest plugin of `posthouse-sdk`: the fixture `posthouse`.

    def test_registering_tells_the_platform(posthouse):
        register("li")
        posthouse.assert_emitted("user_register", {"username": "li"})

It takes the place of every hub in the process, whenever and wherever it was made. A hub may be made without URL and key under
pytest: what is published without this fixture complains then.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from posthouse_sdk.publishing.emitted import FakeHub


def pytest_configure() -> None:
    from posthouse_sdk.publishing import recording

    recording.lenient = True


@pytest.fixture
def posthouse() -> Iterator[FakeHub]:
    """All that was published since the test began, and assertions about it; nothing leaves the process."""
    from posthouse_sdk.publishing.emitted import FakeHub
    from posthouse_sdk.publishing.recording import recorded

    hub = FakeHub()
    with recorded(hub.recorder):
        yield hub
