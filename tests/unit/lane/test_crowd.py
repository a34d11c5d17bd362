"""How many rows go beside live deliveries."""

from posthouse.domain.limits import ROWS_BESIDE_LIVE
from posthouse.lane.crowd import LIVE_SECONDS, TOKENS_MAX, RowPace


def taken(pace: RowPace, boot: float, most: int = 100_000) -> int:
    count = 0
    while count < most and pace.take(boot):
        count += 1
    return count


def test_rows_go_as_they_can_while_nothing_live_starts() -> None:
    pace = RowPace()
    assert taken(pace, 100.0, most=5_000) == 5_000


def test_beside_live_ones_rows_have_a_pace() -> None:
    pace = RowPace()
    boot = 100.0
    pace.live += 1
    taken(pace, boot)
    starts = 0
    for _ in range(1_000):  # ten seconds, with a few live ones
        boot += 0.01
        pace.live += 1
        starts += taken(pace, boot)
    assert 9.9 * ROWS_BESIDE_LIVE <= starts <= 10.1 * ROWS_BESIDE_LIVE


def test_the_more_live_ones_there_are_the_more_rows_go_beside_them() -> None:
    pace = RowPace()
    boot = 100.0
    pace.live += 1
    taken(pace, boot)
    starts = 0
    for _ in range(1_000):
        boot += 0.01
        pace.live += 50
        starts += taken(pace, boot)
    assert starts == 12_500, "one for four of them"


def test_what_was_not_used_is_kept_up_to_a_limit() -> None:
    pace = RowPace()
    pace.live += 1
    pace.ready(100.0)
    pace.live += 1
    assert taken(pace, 1_000.0) == TOKENS_MAX


def test_the_pace_ends_a_moment_after_the_last_live_one() -> None:
    pace = RowPace()
    pace.live += 1
    taken(pace, 100.0)
    assert not pace.ready(100.0 + LIVE_SECONDS / 1e6)
    assert taken(pace, 100.0 + LIVE_SECONDS * 1.01, most=5_000) == 5_000
