"""An OAuth 2.0 token pair in a real Airflow: a keeper, and tasks whose access token ends again and again."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from airflow_instance import IS_AIRFLOW_3, AirflowInstance, wait_for
from oauth_connection import VARIABLE, connect, paste

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.system

#: How many tasks use the token at a time. Each takes Airflow seconds of CPU.
NUMBER = int(os.environ["OAUTH_READERS"])
READERS = {"use_oauth_deferred": NUMBER - NUMBER // 4, "use_oauth_sync": NUMBER // 4}
ACCESS_SECONDS = 3


def _succeeds(airflow: AirflowInstance, dag_id: str, run_id: str, *, seconds: float = 240) -> None:
    assert airflow.end_of(dag_id, run_id, seconds=seconds) == "success", airflow.task_log(dag_id, run_id)


def _files_with(folder: Path, tokens: list[str]) -> list[str]:
    contents = {str(file): file.read_bytes() for file in folder.rglob("*") if file.is_file()}
    return [name for name, content in contents.items() if any(token.encode() in content for token in tokens)]


@pytest.mark.skipif(not IS_AIRFLOW_3, reason="with SQLite, Airflow 2.11 runs one task at a time")
def test_waits_outlive_their_access_tokens(airflow: AirflowInstance, emulator: Emulator) -> None:
    connect(airflow, emulator)
    known = {row["id"] for row in emulator.job_groups}
    before = len(emulator.calls("oauthToken"))
    emulator.change_settings(oauth_access_seconds=ACCESS_SECONDS, pace="seconds=20")
    try:
        airflow.trigger("keep_oauth_token", "keep", {"seconds": 30 + NUMBER})
        for dag_id in READERS:
            airflow.trigger(dag_id, "use")
        for dag_id in READERS:
            _succeeds(airflow, dag_id, "use")
        _succeeds(airflow, "keep_oauth_token", "keep")
    finally:
        emulator.change_settings(oauth_access_seconds=300, pace="seconds=2")
    _assert_complete(emulator, known, sum(READERS.values()))
    _assert_kept(airflow, emulator, before)


@pytest.mark.skipif(IS_AIRFLOW_3, reason="Airflow 3 runs them beside the keeper")
def test_deferred_waits_outlive_their_access_tokens(airflow: AirflowInstance, emulator: Emulator) -> None:
    """They start one after the other, then their token ends, and the keeper runs."""
    connect(airflow, emulator)
    known = {row["id"] for row in emulator.job_groups}
    before = len(emulator.calls("oauthToken"))

    def states() -> list[str | None]:
        return list(airflow.task_states("use_oauth_all_deferred", "use").values())

    emulator.change_settings(oauth_access_seconds=3600, pace="seconds=100000")
    try:
        airflow.trigger("keep_oauth_token", "first")
        _succeeds(airflow, "keep_oauth_token", "first")
        airflow.trigger("use_oauth_all_deferred", "use")
        # A task that still runs would wait for a token, and the keeper for the task to end.
        wait_for(lambda: states() == ["deferred"] * NUMBER, "not all are deferred", seconds=60 + 15 * NUMBER)
        emulator.change_settings(oauth_access_seconds=ACCESS_SECONDS)
        _end_access_tokens(emulator)
        airflow.trigger("keep_oauth_token", "keep", {"seconds": 30})
        _succeeds(airflow, "keep_oauth_token", "keep")
        assert states() == ["deferred"] * NUMBER
        emulator.change_settings(oauth_access_seconds=300, pace="seconds=2")
        airflow.trigger("keep_oauth_token", "last")
        _succeeds(airflow, "keep_oauth_token", "last")
        _succeeds(airflow, "use_oauth_all_deferred", "use", seconds=60 + 15 * NUMBER)
    finally:
        emulator.change_settings(oauth_access_seconds=300, pace="seconds=2")
    _assert_complete(emulator, known, NUMBER)
    _assert_kept(airflow, emulator, before)


def _end_access_tokens(emulator: Emulator) -> None:
    tokens = emulator.app.oauth.tokens
    for value in tokens.values():
        if tokens.access_token_works(value):
            tokens.end(value, expire=True)


def _assert_complete(emulator: Emulator, known: set[int], number: int) -> None:
    started = [row for row in emulator.job_groups if row["id"] not in known]
    assert [row["status"] for row in started] == ["Complete"] * number


def _assert_kept(airflow: AirflowInstance, emulator: Emulator, before: int) -> None:
    """Assert that each refresh succeeded, and that no token is in a file of Airflow.

    :param before: how many refreshes there had been before.
    """
    refreshes = emulator.calls("oauthToken")[before:]
    assert {entry.status for entry in refreshes} == {200}
    assert len(refreshes) >= 5
    returned = airflow.xcoms("keep_oauth_token", "keep")["refresh", "return_value"]
    assert isinstance(returned, dict)
    assert set(returned) == {"refreshed", "expires_at", "refresh_token_ends_at"}
    tokens = list(emulator.app.oauth.tokens.values())
    assert len(tokens) > len(refreshes)
    assert _files_with(airflow.home, tokens) == []


def test_a_keeper_that_is_killed_between_answer_and_store(airflow: AirflowInstance, emulator: Emulator) -> None:
    connect(airflow, emulator)
    airflow.trigger("keep_oauth_token", "before")
    _succeeds(airflow, "keep_oauth_token", "before")
    airflow.trigger("keep_oauth_token_and_die", "killed")
    assert airflow.end_of("keep_oauth_token_and_die", "killed", seconds=180) == "failed"
    airflow.trigger("keep_oauth_token", "after")
    assert airflow.end_of("keep_oauth_token", "after", seconds=180) == "failed"
    log = airflow.task_log("keep_oauth_token", "after")
    assert "by keep_oauth_token_and_die.refresh killed was answered and never stored" in log
    assert "Generate a new pair" in log
    assert "oauth_refresh.py" not in log.split("Task failed with exception")[-1]
    paste(airflow, emulator)
    airflow.trigger("keep_oauth_token", "healed")
    _succeeds(airflow, "keep_oauth_token", "healed")
    stored = json.loads(airflow.airflow("variables", "get", VARIABLE).strip().splitlines()[-1])
    assert emulator.oauth_refresh_token_works(stored["refresh_token"])
