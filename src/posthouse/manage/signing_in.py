"""What signing in to the console and to the portal have in common. What is told to a browser is kept as a hash, as keys are."""

from __future__ import annotations

import re
import secrets
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Final, Literal

import structlog

from posthouse.domain.access import Page, Principal, Session
from posthouse.domain.errors import NotFound
from posthouse.domain.limits import SIGN_IN_FAILURES_TOLD_SECONDS, SIGN_IN_TOKEN_BYTES
from posthouse.ports.clock import Clock

log = structlog.get_logger()

By = Literal["key", "link"]

TOKEN_LENGTH: Final = (SIGN_IN_TOKEN_BYTES * 8 + 5) // 6
_TOKEN: Final = re.compile(rf"[A-Za-z0-9_-]{{{TOKEN_LENGTH}}}")


class SignIns:
    """Makes sessions, links and what stands for them; `failures` counts those who were not let in."""

    def __init__(self, page: Page, clock: Clock, random: Callable[[int], bytes] = secrets.token_bytes) -> None:
        self._page = page
        self._clock = clock
        self._random = random
        self.failures = 0
        self._told_at = float("-inf")
        self._untold = 0

    def _new(self, seconds: float) -> tuple[Session, str]:
        """A session or a link that lasts so long, and what whoever holds it shows."""
        token = urlsafe_b64encode(self._random(SIGN_IN_TOKEN_BYTES)).decode("ascii").rstrip("=")
        return Session(self._clock.new_id(), self._clock.now() + seconds), token

    def _failed(self, by: By, code: str, client: str) -> None:
        """Told once a second at most: whoever tries many shall not fill the log."""
        self.failures += 1
        self._untold += 1
        now = self._clock.boot()
        if now - self._told_at >= SIGN_IN_FAILURES_TOLD_SECONDS:
            log.warning("session.refused", page=self._page, by=by, code=code, client=client, failures=self._untold)
            self._told_at = now
            self._untold = 0


def is_token(text: str) -> bool:
    """Whether this could be a link's code, or what a cookie holds of a session."""
    return _TOKEN.fullmatch(text) is not None


def sign_in_url(url: str, page: Page, code: str) -> str:
    """The address of a page of the server at `url`, with a link's code: behind `#`, so that neither servers nor logs see it."""
    return f"{url}/{'' if page == 'console' else page}#/in?code={code}"


def signed_in(principal: Principal) -> Session:
    """The session of whoever asks. Raises NotFound where there is none: a key was sent."""
    if principal.session is None:
        raise NotFound("this is an API key, which nobody signed in with here", code="session_not_found")
    return principal.session
