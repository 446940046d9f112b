"""The example DAG that refreshes a token pair."""

from __future__ import annotations

import runpy
from datetime import timedelta
from pathlib import Path

import pytest
from oauth import OAuthAirflow
from simulated_airflow import let_operators_run_in_this_thread
from support import FakeTaskInstance

from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.tokens.oauth_refresh import _STORING, LONGEST_REFRESH

FILE = Path(__file__).parents[3] / "example_dags" / "trifacta_keep_oauth_token.py"


def test_the_example_dag_refreshes(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow = OAuthAirflow(emulator, "variable", monkeypatch)
    pasted = airflow.pair.refresh_token
    (task,) = runpy.run_path(str(FILE))["dag"].tasks
    let_operators_run_in_this_thread()
    assert task.execute({"ti": FakeTaskInstance()})["refreshed"] is True
    assert airflow.pair.refresh_token != pasted
    assert airflow.works


def test_the_example_dag_is_not_stopped_while_it_stores() -> None:
    dag = runpy.run_path(str(FILE))["dag"]
    (task,) = dag.tasks
    for limit in (dag.dagrun_timeout, task.execution_timeout):
        assert limit is None or limit > timedelta(seconds=LONGEST_REFRESH + _STORING)
    assert (dag.max_active_runs, dag.catchup, task.retries) == (1, False, 0)
