"""Many short runs in deferred tasks, while the scheduler has more to do than it can.

Not part of the usual tests, since it takes minutes: ``SHORT_TASKS=300`` specifies how many, ``HELD`` the seconds
of ``[trifacta] min_deferral_seconds``; with less than its default, Airflow may fail some of them. With ``-s``, it
prints how late the scheduler read that the processes which deferred had ended: a deferral must be older than that.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from collections import Counter
from datetime import datetime
from pathlib import Path
from statistics import median

import pytest
from airflow_instance import IS_AIRFLOW_3, AirflowInstance

from airflow_provider_trifacta.airflow_support.deferrals import DEFAULT_MIN_DEFERRAL
from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.system

NUMBER = int(os.environ.get("SHORT_TASKS", "0"))
HELD = os.environ.get("HELD", str(DEFAULT_MIN_DEFERRAL))
DAG_ID = "many_short_deferred"


def delays(airflow: AirflowInstance) -> list[float]:
    """Return the seconds from each deferral until the scheduler had read that its process had ended."""
    report = re.compile(r"(\S+)Z .*Received executor event with state success .*map_index=(\d+)")
    reports = [
        (datetime.fromisoformat(found[1]), int(found[2]))
        for text in (airflow.home / "scheduler.log").read_text().splitlines()
        if (found := report.match(text))
    ]
    late = []
    for index in range(NUMBER):
        folder = airflow.home / "logs" / f"dag_id={DAG_ID}" / "run_id=test" / "task_id=run" / f"map_index={index}"
        text = "\n".join(file.read_text() for file in folder.glob("*.log"))
        for line in text.splitlines():
            if "Pausing task as DEFERRED" in line:
                deferred = datetime.fromisoformat(json.loads(line)["timestamp"].removesuffix("Z"))
                read = min(moment for moment, of in reports if of == index and moment > deferred)
                late.append((read - deferred).total_seconds())
    return sorted(late)


@pytest.mark.skipif(not NUMBER or not IS_AIRFLOW_3, reason="on request: SHORT_TASKS=300, on Airflow 3")
def test_none_loses_a_try(tmp_path: Path) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    shutil.copy(Path(__file__).parent / "dags" / "short.py", dags)
    settings = {"AIRFLOW__CORE__PARALLELISM": "8", "AIRFLOW__TRIFACTA__MIN_DEFERRAL_SECONDS": HELD}
    airflow = AirflowInstance(tmp_path / "home", dags, settings=settings)
    with Emulator(pace="seconds=4", enforce_quotas=False) as emulator:
        try:
            airflow.start()
            airflow.set_connection(
                "trifacta_default", conn_type="trifacta", host=emulator.url, password=emulator.token
            )
            airflow.trigger(DAG_ID, "test")
            airflow.end_of(DAG_ID, "test", seconds=60 + 10 * NUMBER)
            late = delays(airflow)
            print(
                f"\nread after {median(late):.1f} s (median), {late[int(0.9 * len(late))]:.1f} s (nine of ten), "
                f"{late[-1]:.1f} s (all {len(late)})"
            )
            tries = Counter(airflow.rows("select state, try_number from task_instance where dag_id = ?", DAG_ID))
        finally:
            airflow.stop()
        assert tries == {("success", 1): NUMBER}
        assert len(emulator.job_groups) == NUMBER
