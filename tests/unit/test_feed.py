from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_trifacta.api.runs.feed import LONGEST_LAG, OVERLAP, Feed, RunKey, UnreliableList
from airflow_provider_trifacta.api.runs.run_lists import JOB_LIBRARY, PLAN_RUN_LIST, ListedRun

NOW = 1_700_000_000.0


def _key(number: int) -> RunKey:
    return ("job_group", str(number))


def _row(number: int, status: str | None, updated: float | None = NOW - 10, **fields: Any) -> ListedRun:
    return ListedRun(str(number), status, fields.pop("created", NOW - 500), updated, **fields)


def _feed(*keys: RunKey, began: float = NOW - 300, **arguments: Any) -> Feed:
    feed = Feed(JOB_LIBRARY)
    for key in keys:
        feed.add(key, began=began, **arguments)
    return feed


def _read(feed: Feed, rows: Iterable[ListedRun | None], now: float = NOW) -> list[RunKey]:
    feed.begin(now, 0.0)
    news = [key for row in rows for key in feed.take(row)]
    feed.end(now, now)
    return news


def test_vouches_for_what_it_has_shown_as_running_only() -> None:
    feed = _feed(*map(_key, range(1, 7)))
    rows = [_row(1, "InProgress"), _row(2, "Complete"), _row(3, "strange"), _row(4, None), _row(5, "Complete ")]
    news = _read(feed, rows)
    assert news == [_key(2), _key(3), _key(5)]
    assert [feed.status(_key(number)) for number in range(1, 7)] == ["InProgress", *[None] * 5]


def test_tells_only_what_has_changed() -> None:
    feed = _feed(_key(1))
    assert _read(feed, [_row(1, "Created")]) == []
    assert _read(feed, [_row(1, "Created")]) == []
    assert _read(feed, [_row(1, "InProgress")]) == [_key(1)]
    assert _read(feed, [_row(1, "Failed")]) == [_key(1)]
    assert _read(feed, [_row(1, "Failed")]) == []
    assert feed.status(_key(1)) is None


def test_a_flow_run_is_vouched_for_while_a_part_of_it_runs() -> None:
    flow_run: RunKey = ("flow_run", "5")
    feed = _feed(flow_run, parts=["11"])
    _read(
        feed, [_row(11, "Created"), _row(12, "InProgress", flow_run_id="5"), _row(13, "Failed", flow_run_id="6")]
    )
    assert feed.status(flow_run) == "InProgress"
    assert _read(feed, [_row(12, "Complete", flow_run_id="5")]) == [flow_run]
    assert feed.status(flow_run) == "Created"
    assert _read(feed, [_row(11, "Complete")]) == [flow_run]
    assert feed.status(flow_run) is None


def test_reaches_back_to_the_beginning_of_new_waits_once() -> None:
    feed = _feed(_key(1), began=NOW - 600)
    assert feed.begin(NOW, 0.0) <= NOW - 600
    feed.take(_row(1, "InProgress", NOW - 100))
    feed.end(NOW, NOW)
    assert not feed.is_new(_key(1))
    assert feed.begin(NOW + 30, 0.0) == NOW - 100 - OVERLAP


def test_a_reading_that_was_interrupted_is_made_up_for() -> None:
    feed = _feed(_key(1), began=NOW - 600)
    first = feed.begin(NOW, 0.0)
    feed.take(_row(2, "InProgress", NOW))
    feed.stop()
    assert feed.is_new(_key(1))
    assert feed.begin(NOW, 0.0) == first


@pytest.mark.parametrize("ahead", [-420.0, 0.0, 420.0])
def test_moments_are_those_of_the_server(ahead: float) -> None:
    feed = _feed(_key(1), began=NOW - 100)
    assert feed.begin(NOW + ahead, ahead) == pytest.approx(NOW + ahead - 100 - 120)


def test_a_few_old_waits_are_not_worth_a_long_list() -> None:
    feed = _feed(_key(1), began=NOW - 86400)
    assert feed.begin(NOW, 0.0) == NOW - OVERLAP
    feed.end(NOW, NOW)
    for number in range(2, 30):
        feed.add(_key(number), began=NOW - 86400)
    assert feed.begin(NOW, 0.0) < NOW - 86400


def test_few_old_waits_that_come_again_and_again_become_many() -> None:
    """As when a triggerer takes thousands of waits over, some at a time: the others are not read one by one."""
    feed = Feed(JOB_LIBRARY)
    for number in range(25):
        feed.add(_key(number), began=NOW - 86400)
        if number == 9:
            assert feed.begin(NOW, 0.0) == NOW - OVERLAP
            feed.end(NOW, NOW)
    assert feed.begin(NOW, 0.0) < NOW - 86400
    feed.end(NOW, NOW)
    assert feed.begin(NOW, 0.0) == NOW - OVERLAP


def test_an_old_wait_whose_run_was_shown_is_not_left_out_any_more() -> None:
    feed = _feed(*map(_key, range(19)), began=NOW - 86400)
    _read(feed, [_row(number, "InProgress") for number in range(19)])
    feed.add(_key(19), began=NOW - 86400)
    assert feed.begin(NOW + 60, 0.0) > NOW - 86400


def test_an_old_wait_that_was_left_out_may_leave() -> None:
    feed = _feed(_key(1), began=NOW - 86400)
    _read(feed, [])
    feed.remove(_key(1))
    assert feed.begin(NOW, 0.0) == NOW - OVERLAP


def test_a_moment_of_the_distant_future_does_not_blind_it() -> None:
    feed = _feed(_key(1))
    _read(feed, [_row(1, "InProgress", NOW + 10**9)])
    assert feed.begin(NOW + 30, 0.0) == NOW - OVERLAP


def test_never_goes_back_behind_what_it_has_read() -> None:
    feed = _feed(_key(1))
    _read(feed, [_row(1, "InProgress", NOW - 5)])
    _read(feed, [_row(1, "InProgress", NOW - 50)])
    assert feed.begin(NOW, 0.0) == NOW - 5 - OVERLAP


def test_ignoring_the_filter_is_noticed() -> None:
    feed = _feed(_key(1))
    with pytest.raises(UnreliableList, match="ignores the filter"):
        _read(feed, [_row(1, "InProgress"), _row(2, "Complete", NOW - 10**6)])


def test_a_list_without_moments_is_noticed() -> None:
    with pytest.raises(UnreliableList, match="no updatedAt"):
        _read(_feed(_key(1)), [_row(1, "InProgress", None), None])
    with pytest.raises(UnreliableList, match="no updatedAt"):
        _read(_feed(_key(1)), [None])


def test_that_updated_at_never_moves_is_noticed() -> None:
    ended = [_row(number, "Complete", NOW - 10, created=NOW - 10) for number in range(3)]
    with pytest.raises(UnreliableList, match="does not change"):
        _read(_feed(_key(1)), ended)
    _read(_feed(_key(1)), [*ended, _row(4, "Complete", NOW - 10, created=NOW - 11)])
    _read(_feed(_key(1)), ended[:2] * 2)


def test_an_end_that_the_list_does_not_show_is_doubted_and_then_proof() -> None:
    feed = _feed(_key(1), _key(2))
    _read(feed, [_row(1, "InProgress"), _row(2, "InProgress")])
    feed.ended(_key(1), NOW + 1)
    feed.remove(_key(1))
    # The reading that is under way may be older than the end.
    _read(feed, [], NOW)
    assert feed.status(_key(2)) == "InProgress"
    _read(feed, [], NOW + 10)
    assert feed.status(_key(2)) is None
    with pytest.raises(UnreliableList, match="run 1 ended"):
        _read(feed, [], NOW + 2 + LONGEST_LAG)


def test_an_end_that_the_list_shows_late_is_forgiven() -> None:
    feed = _feed(_key(1), _key(2))
    _read(feed, [_row(1, "InProgress"), _row(2, "InProgress")])
    feed.ended(_key(1), NOW + 1)
    feed.remove(_key(1))
    _read(feed, [], NOW + 10)
    _read(feed, [_row(1, "Complete", NOW)], NOW + 40)
    assert feed.status(_key(2)) == "InProgress"
    _read(feed, [], NOW + 400)


def test_an_end_that_the_list_need_not_show() -> None:
    feed = _feed(_key(1), _key(2))
    _read(feed, [_row(1, "Complete")])
    for number in (1, 2):
        feed.ended(_key(number), NOW + 1)
        feed.remove(_key(number))
    _read(feed, [], NOW + 400)


def test_what_is_forgotten_must_be_shown_again() -> None:
    feed = _feed(_key(1))
    _read(feed, [_row(1, "InProgress")])
    feed.forget()
    assert feed.status(_key(1)) is None
    assert feed.is_new(_key(1))


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"id": 5, "status": "InProgress"}, ListedRun("5", "InProgress", None, None)),
        ({"id": "run-1", "status": 7}, ListedRun("run-1", None, None, None)),
        ({"id": "5", "updatedAt": "2023-11-14T22:13:20.000Z"}, ListedRun("5", None, None, NOW)),
        ({"id": True}, None),
        ({"id": [5]}, None),
        ({}, None),
        ("5", None),
    ],
    ids=str,
)
def test_rows_of_plan_runs(row: Any, expected: ListedRun | None) -> None:
    assert PLAN_RUN_LIST.read(row) == expected


# ------------------------------------------------------------------------------------------ any history at all

_Times = tuple[float, float, float]


@given(
    runs=st.lists(st.tuples(st.floats(0, 50), st.floats(1, 100), st.floats(0, OVERLAP)), min_size=2, max_size=8),
    polls=st.lists(st.floats(1, 40), min_size=8, max_size=12),
    ahead=st.sampled_from([-600.0, 0.0, 600.0]),
    clock_known=st.booleans(),
)
def test_no_end_is_missed_on_a_list_that_is_right(
    runs: list[_Times], polls: list[float], ahead: float, clock_known: bool
) -> None:
    """Each row becomes visible a little late, not in order, on a clock that differs from ours.

    Once the list can show that a run has ended, nothing vouches for it any more.
    """
    feed = Feed(JOB_LIBRARY)
    for number, (start, _, _) in enumerate(runs):
        feed.add(_key(number), began=NOW + start)
    known = ahead if clock_known else 0.0
    now = NOW
    for pause in polls:
        now += pause
        server = now + ahead
        since = feed.begin(now + known, known)
        for number, (start, length, late) in enumerate(runs):
            created, ended = NOW + ahead + start, NOW + ahead + start + length
            shown = [
                _row(number, status, moment, created=created)
                for status, moment in (("InProgress", created), ("Complete", ended))
                if moment + late <= server
            ]
            if shown and (shown[-1].updated_at or 0) >= since:
                feed.take(shown[-1])
        feed.end(now + known, now + known)
        for number, (start, length, late) in enumerate(runs):
            if NOW + start + length + late <= now:
                assert feed.status(_key(number)) is None
