"""Rotation in a real Airflow, while tasks use the token."""

from __future__ import annotations

import os
from typing import Any

import pytest
from airflow_instance import IS_AIRFLOW_3, AirflowInstance, wait_for

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.system

NUMBER = int(os.environ["ROTATED_WAITS"])
WAITS = {"outlive_rotations_deferred": NUMBER, "outlive_rotations_sync": 3}
if not IS_AIRFLOW_3:  # one task at a time
    WAITS = {"outlive_rotations_one_deferred": 1}


def _tokens(emulator: Emulator) -> set[str]:
    return {row["_value"] for row in emulator.state.rows("apiAccessTokens")}


def _succeeds(airflow: AirflowInstance, dag_id: str, run_id: str, *, seconds: float = 240) -> None:
    assert airflow.end_of(dag_id, run_id, seconds=seconds) == "success", airflow.task_log(dag_id, run_id)


def _connection(airflow: AirflowInstance) -> tuple[Any, ...]:
    """Return the connection as the database has it, but for what holds the password."""
    (row,) = airflow.rows(
        "select id, conn_type, description, host, schema, login, port, extra, is_extra_encrypted "
        "from connection where conn_id = 'trifacta_rotated'"
    )
    return row


def _seen_anywhere(airflow: AirflowInstance, tokens: set[str]) -> list[str]:
    """Return the files of an Airflow, its database and all its logs, that hold one of the tokens."""
    found = []
    for file in airflow.home.rglob("*"):
        if file.is_file():
            content = file.read_bytes()
            found += [str(file) for token in tokens if token.encode() in content]
    return found


def test_waits_outlive_rotations_of_their_token(airflow: AirflowInstance, emulator: Emulator) -> None:
    known = {row["id"] for row in emulator.job_groups}
    first = emulator.add_token()
    ever = {first}
    airflow.set_connection(
        "trifacta_rotated",
        conn_type="trifacta",
        description="what a person wrote",
        host=emulator.url,
        password=first,
        extra={"read_timeout": 30, "note": "héllo  wörld"},
    )
    api_conn_id = ""
    if IS_AIRFLOW_3:
        api_conn_id = "airflow_api"
        airflow.set_connection(api_conn_id, conn_type="http", host=airflow.url, **airflow.admin)
    before = _connection(airflow)
    emulator.change_settings(pace="seconds=100000")
    try:
        for dag_id in WAITS:
            airflow.trigger(dag_id, "wait")
        wait_for(
            lambda: len(emulator.job_groups) - len(known) == sum(WAITS.values()), "not all started", seconds=240
        )
        wait_for(
            lambda: all(
                any(entry.path == f"/v4/jobGroups/{row['id']}/status" for entry in emulator.journal)
                for row in emulator.job_groups
                if row["id"] not in known
            ),
            "not all are looked at",
            seconds=120,
        )
        for number in range(5 if IS_AIRFLOW_3 else 1):
            airflow.trigger("rotate", f"rotation-{number}", {"airflow_api_conn_id": api_conn_id})
            _succeeds(airflow, "rotate", f"rotation-{number}")
            ever |= _tokens(emulator)
            assert first not in _tokens(emulator)
    finally:
        emulator.change_settings(pace="seconds=2")
    for dag_id in WAITS:
        _succeeds(airflow, dag_id, "wait", seconds=400)
    started = [row for row in emulator.job_groups if row["id"] not in known]
    assert len(started) == sum(WAITS.values())
    assert {row["status"] for row in started} == {"Complete"}
    assert _connection(airflow) == before
    rotations = 5 if IS_AIRFLOW_3 else 1
    assert len(ever - {emulator.token, first}) == rotations
    assert _seen_anywhere(airflow, {"what a person wrote"}), "the search does not find what is there"
    assert _seen_anywhere(airflow, ever) == []


def test_the_example_with_a_variable(airflow: AirflowInstance, emulator: Emulator) -> None:
    for token in _tokens(emulator) - {emulator.token}:
        emulator.delete_token(token)  # what another test has just made, which a rotation would wait for
    first = emulator.add_token()
    airflow.set_connection(
        "trifacta_rotated",
        conn_type="trifacta",
        host=emulator.url,
        password=first,
        extra={"token_variable": "trifacta_api_access_token"},
    )
    dag_id = "trifacta_rotate_token_in_variable"
    before = _tokens(emulator)
    airflow.trigger(dag_id, "manual")
    airflow.airflow("dags", "unpause", dag_id)
    _succeeds(airflow, dag_id, "manual")
    # Its schedule may start another run meanwhile: a token that is stored is one that was made before.
    stored = airflow.airflow("variables", "get", "trifacta_api_access_token").strip().splitlines()[-1]
    made = _tokens(emulator) - before
    assert stored in made
    assert first in _tokens(emulator)
    assert _seen_anywhere(airflow, made | before) == []
