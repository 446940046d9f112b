"""What is known of a quota, and what follows from it. The queue as a whole: integration/test_start_queue.py."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from airflow_provider_trifacta.api.rate_limits import Quota, quotas_of
from airflow_provider_trifacta.api.start_pace import SeenQuota, StartPace

NOW = 1_700_000_000.0
SEEN = SeenQuota(until=NOW + 10, limit=6, resets_at=NOW + 10, window=60.0)


def test_what_is_stored_is_read() -> None:
    seen = replace(SEEN, submitted_at=NOW)
    assert SeenQuota.read(json.loads(json.dumps(seen.plain()))) == seen


def test_the_last_of_the_quotas_that_are_used_up_counts() -> None:
    quotas = [
        Quota("user", 6, 0, NOW + 10),
        Quota("workspace", 12, 0, NOW + 20),
        Quota("workspace", 12, 5, NOW + 30),
    ]
    assert SeenQuota.used_up(quotas, NOW) == SeenQuota(NOW + 20, 12, NOW + 20)
    assert SeenQuota.used_up(quotas[2:], NOW) is None


def test_the_clock_of_the_server_may_differ() -> None:
    headers = {
        "date": "Tue, 14 Nov 2023 22:13:20 GMT",  # NOW
        "x-rate-limit-user-limit": "6",
        "x-rate-limit-user-remaining": "0",
        "x-rate-limit-user-reset": str(int(NOW + 15)),
    }
    seen = SeenQuota.used_up(quotas_of(headers), NOW - 3600)
    assert seen is not None
    assert seen.until == NOW - 3600 + 15


@pytest.mark.parametrize(("between", "window"), [(15, 15), (60, 60), (0, None), (1, None), (120, 60)])
def test_two_ends_of_windows_show_how_long_one_is(between: float, window: float | None) -> None:
    seen = replace(SEEN, window=None)
    assert replace(seen, resets_at=NOW + 10 + between).after(seen).window == window
    assert replace(seen, resets_at=NOW + 10 + between).after(replace(seen, window=12)).window == 12


def test_who_comes_now_stands_in_line() -> None:
    seen = replace(SEEN, submitted_at=NOW + 40)  # the next one is due ten seconds later
    assert not seen.is_used_up(NOW + 10)
    assert seen.is_used_up(NOW + 9)
    assert seen.is_waited_for(NOW + 51)
    assert not seen.is_waited_for(NOW + 53)  # those who wait are late
    assert not replace(seen, submitted_at=NOW + 69).is_waited_for(NOW + 70)  # nobody has waited since
    assert not replace(seen, window=None).is_waited_for(NOW + 41)  # how long a window is shows at the next start
    assert not SeenQuota().is_waited_for(NOW)


def test_a_clock_that_was_set_back_blocks_nobody() -> None:
    assert not SEEN.is_used_up(NOW - 3600)
    assert not SEEN.is_waited_for(NOW - 3600)


def test_a_pace_slows_down_with_refusals_and_recovers() -> None:
    pace = StartPace(NOW)
    pace.learn(SEEN, NOW, had_slot=False)
    assert (pace.due, pace.interval) == (NOW + 10, 10)
    for _ in range(6):  # a whole window
        pace.learn(SEEN, NOW, had_slot=True)
    assert 15 < pace.interval < 20
    for _ in range(100):
        pace.let_out(NOW)
    assert pace.interval == 10


def test_a_pace_backs_off_when_nothing_is_reported() -> None:
    pace, now = StartPace(NOW), NOW
    pauses = []
    for _ in range(6):
        pace.learn(SeenQuota(), now, had_slot=True)
        pace.learn(SeenQuota(), now, had_slot=True)  # another one of the same moment
        pauses.append(pace.due - now)
        now = pace.due
    assert pauses == [5, 10, 20, 40, 60, 60]
