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
    seen = replace(SEEN, waiting=3, moved_at=NOW)
    assert SeenQuota.read(json.loads(json.dumps(seen.plain()))) == seen


def test_the_last_of_the_quotas_that_are_used_up_counts() -> None:
    quotas = [
        Quota("user", 6, 0, NOW + 10),
        Quota("workspace", 12, 0, NOW + 20),
        Quota("workspace", 12, 5, NOW + 30),
    ]
    assert SeenQuota.used_up(quotas, NOW) == SeenQuota(NOW + 20, 12, NOW + 20, NOW + 20, used=12)
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
    assert not SEEN.is_waited_for(NOW)
    seen = SEEN.joined(NOW).joined(NOW + 1)
    assert seen.waiting == 2
    # They may be late, for instance because all workers are busy. They are not forgotten for that.
    assert seen.is_waited_for(NOW + 10 + 2 * 10 + 59)
    assert not seen.is_waited_for(NOW + 10 + 2 * 10 + 61)  # killed, probably
    assert seen.joined(NOW + 200).waiting == 1
    seen = seen.left(1, NOW + 20)
    assert seen.is_waited_for(NOW + 20 + 10 + 59)
    assert not seen.left(0, NOW + 30).is_waited_for(NOW + 30)


def test_a_line_is_known_without_knowing_the_quota() -> None:
    seen = SeenQuota().joined(NOW)
    assert seen.is_waited_for(NOW + 50)
    assert SEEN.after(seen).waiting == 1
    assert seen.left(0, NOW + 1).after(seen).waiting == 0


def test_a_start_is_overdue_when_those_in_line_are_late() -> None:
    seen = replace(SEEN, window=60.0, ends_at=NOW + 60, used=2)  # one of 6 is due every 10 s
    assert not seen.has_overdue_start(NOW + 29)
    assert seen.has_overdue_start(NOW + 30)
    assert not seen.started(NOW + 30).has_overdue_start(NOW + 39)  # each is taken once
    # Windows of which nothing was heard.
    assert not seen.has_overdue_start(NOW + 120 + 9)
    assert seen.has_overdue_start(NOW + 120 + 10)
    assert not seen.started(NOW + 120 + 10).has_overdue_start(NOW + 120 + 19)
    assert seen.started(NOW + 120 + 10).has_overdue_start(NOW + 120 + 20)
    assert not replace(seen, used=6).has_overdue_start(NOW + 59)


def test_the_first_start_of_a_window_of_unknown_length_is_due_at_once() -> None:
    seen = replace(SEEN, window=None, ends_at=NOW, used=6)
    assert seen.has_overdue_start(NOW + 1)
    assert not seen.started(NOW + 1).has_overdue_start(NOW + 2)


def test_no_start_is_overdue_as_long_as_nothing_is_known() -> None:
    assert not SeenQuota(limit=6).has_overdue_start(NOW)
    assert not SeenQuota(ends_at=NOW - 30).has_overdue_start(NOW)


def test_answers_of_one_window_may_arrive_in_reverse_order() -> None:
    seen = replace(SEEN, ends_at=NOW + 10, used=3)
    assert replace(seen, used=2).after(seen).used == 3
    assert replace(seen, used=1, resets_at=NOW + 70, ends_at=NOW + 70).after(seen).used == 1
    assert SeenQuota().after(seen).ends_at == NOW + 10


def test_a_clock_that_was_set_back_blocks_nobody() -> None:
    assert not SEEN.is_used_up(NOW - 3600)
    assert not SEEN.joined(NOW).is_waited_for(NOW - 3600)


def test_a_pace_slows_down_with_refusals_and_recovers() -> None:
    pace = StartPace(NOW)
    pace.learn(SEEN, NOW, refused=False, had_slot=False)
    assert (pace.due, pace.interval) == (NOW + 10, 10)
    for _ in range(6):  # a whole window
        pace.learn(SEEN, NOW, refused=True, had_slot=True)
    assert 15 < pace.interval < 20
    for _ in range(100):
        pace.let_out(NOW)
    assert pace.interval == 10


def test_a_pace_that_learns_of_a_shorter_window_is_faster_at_once() -> None:
    pace = StartPace(NOW - 60)
    pace.learn(replace(SEEN, until=NOW, window=None), NOW, refused=False, had_slot=False)
    pace.let_out(NOW)
    assert pace.due == NOW + 10
    pace.learn(replace(SEEN, until=NOW, window=15.0), NOW + 1, refused=False, had_slot=False)
    assert pace.due == NOW + 2.5


def test_who_only_goes_behind_others_slows_nobody_down() -> None:
    pace = StartPace(NOW - 60)
    for _ in range(3):
        pace.learn(SeenQuota(limit=6), NOW, refused=False, had_slot=False)
    assert pace.due <= NOW


def test_a_pace_backs_off_when_nothing_is_reported() -> None:
    pace, now = StartPace(NOW), NOW
    pauses = []
    for _ in range(6):
        pace.learn(SeenQuota(), now, refused=True, had_slot=True)
        pace.learn(SeenQuota(), now, refused=True, had_slot=True)  # another one of the same moment
        pauses.append(pace.due - now)
        now = pace.due
    assert pauses == [5, 10, 20, 40, 60, 60]
