"""What an endpoint, a catalogue entry and a key may be at most, beside `domain.limits`."""

from __future__ import annotations

from typing import Final

DELAY_SECONDS_MAX: Final = 7 * 86_400.0
EXPONENTIAL_FACTOR_MAX: Final = 100.0
TIMEOUT_SECONDS_MAX: Final = 60.0
CONCURRENCY_MAX: Final = 1_000
EXAMPLES_MAX: Final = 20
OVERLAP_SECONDS: Final = 86_400
OVERLAP_SECONDS_MAX: Final = 30 * 86_400
SECRETS_MAX: Final = 4
"""Secrets of one endpoint that sign at the same time: each adds a signature to every request."""

KEY_LENGTH_MIN: Final = 16
KEY_LENGTH_MAX: Final = 256
KEYS_CACHED_MAX: Final = 10_000
KEY_CACHED_SECONDS: Final = 10.0
UNKNOWN_KEY_CACHED_SECONDS: Final = 1.0

STATS_SECONDS: Final = 86_400.0
STATS_SECONDS_MAX: Final = 90 * 86_400.0
OWED_COUNTED_MAX: Final = 10_000
