"""Tokens that are replaced while workers and triggerers use them."""

from __future__ import annotations

import pytest
from airflow_instance import AirflowInstance, wait_for
from batch import Batch
from oauth_connection import connect

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.distributed

VARIABLE = "trifacta_distributed_token"
#: Not less: the process that refreshes gets slower each time, since Airflow remembers whatever it has to mask.
ACCESS_SECONDS = 15


def _succeeds(airflow: AirflowInstance, dag_id: str, run_id: str) -> None:
    assert airflow.end_of(dag_id, run_id, seconds=300) == "success", airflow.task_log(dag_id, run_id)


@pytest.mark.parametrize("kept_in", ["connection", "variable"])
def test_waits_outlive_rotations(airflow: AirflowInstance, emulator: Emulator, kept_in: str) -> None:
    first = emulator.add_token()
    extra = {"token_variable": VARIABLE} if kept_in == "variable" else {}
    airflow.set_connection(
        "trifacta_rotated", conn_type="trifacta", host=emulator.url, password=first, extra=extra
    )
    conf = {"airflow_api_conn_id": ""}
    if kept_in == "connection":
        conf = {"airflow_api_conn_id": "airflow_api"}
        airflow.set_connection("airflow_api", conn_type="http", host=airflow.url, **airflow.admin)
    emulator.change_settings(pace="seconds=100000")
    try:
        batch = Batch(airflow, emulator, f"rotated-in-{kept_in}", sync=4, deferred=12, conn_id="trifacta_rotated")
        batch.wait_in_both_triggerers()
        before = len(emulator.journal)
        for number in range(3):
            # No previous token is kept: whoever does not find the new one is refused.
            airflow.trigger("rotate", f"in-{kept_in}-{number}", conf)
            _succeeds(airflow, "rotate", f"in-{kept_in}-{number}")
        refused = [entry for entry in emulator.journal[before:] if entry.status == 401]
    finally:
        emulator.change_settings(pace="seconds=2")
    batch.assert_one_complete_job_group_each()
    batch.assert_nothing_was_canceled()
    values = {row["_value"] for row in emulator.state.rows("apiAccessTokens")}
    assert first not in values
    assert refused, "nobody used a token that was replaced"


def test_waits_outlive_the_access_tokens_of_a_pair(airflow: AirflowInstance, emulator: Emulator) -> None:
    connect(airflow, emulator)
    before = len(emulator.calls("oauthToken"))
    emulator.change_settings(oauth_access_seconds=ACCESS_SECONDS, pace="seconds=100000")
    try:
        airflow.trigger("keep_oauth_token", "keep", {"seconds": 900})
        batch = Batch(airflow, emulator, "oauth", sync=4, deferred=12, conn_id="trifacta_oauth")
        batch.wait_in_both_triggerers()
        earlier = len(emulator.calls("oauthToken"))
        wait_for(
            lambda: len(emulator.calls("oauthToken")) >= earlier + 3, "the pair is not refreshed", seconds=120
        )
        emulator.change_settings(pace="seconds=2")
        batch.assert_one_complete_job_group_each()
    finally:
        airflow.api("PATCH", "/api/v2/dags/keep_oauth_token/dagRuns/keep", {"state": "failed"})
        emulator.change_settings(oauth_access_seconds=300, pace="seconds=2")
    batch.assert_nothing_was_canceled()
    refreshes = emulator.calls("oauthToken")[before:]
    assert {entry.status for entry in refreshes} == {200}
