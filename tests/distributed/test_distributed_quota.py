"""A quota that tasks on two workers and slots in two triggerers share."""

from __future__ import annotations

import math
from collections import Counter

import pytest
from airflow_instance import AirflowInstance, wait_for
from batch import Batch
from distribution import TRIGGERERS

from airflow_provider_trifacta.emulator import Emulator

pytestmark = pytest.mark.distributed

QUOTA = 8
WINDOW = 60


def test_triggerers_share_a_quota(airflow: AirflowInstance, emulator: Emulator) -> None:
    airflow.set_connection("trifacta_quota", conn_type="trifacta", host=emulator.url, password=emulator.token)
    before = len(emulator.calls("runJobGroup"))
    emulator.change_settings(
        enforce_quotas=True, quotas={"runJobGroup": (QUOTA, QUOTA)}, quota_window=WINDOW, pace="seconds=2"
    )
    try:
        batch = Batch(airflow, emulator, "quota", deferred=20, conn_id="trifacta_quota")
        wait_for(lambda: batch.triggerers().total() >= QUOTA, "nothing waits for the quota", seconds=120)
        batch.spread_over_triggerers()
        batch.assert_one_complete_job_group_each()
    finally:
        emulator.change_settings(
            enforce_quotas=False, quotas={"runJobGroup": (10**6, 10**6)}, quota_window=60, pace="seconds=2"
        )
    batch.assert_nothing_was_canceled()
    submits = emulator.calls("runJobGroup")[before:]
    statuses = Counter(entry.status for entry in submits)
    started = [entry.at for entry in submits if entry.status == 201]
    ideal = (math.ceil(batch.size / QUOTA) - 1) * WINDOW
    print(
        f"\n{batch.size} starts, quota {QUOTA} in {WINDOW} s: {dict(statuses)}, refused "
        f"{statuses[429] / len(submits):.0%}, {max(started) - min(started):.0f} s, ideal {ideal} s"
    )
    assert set(statuses) <= {201, 304, 429}
    assert statuses[429] / len(submits) <= 0.5
    assert len(_triggerers_of_slots(airflow)) == len(TRIGGERERS)


def _triggerers_of_slots(airflow: AirflowInstance) -> set[str]:
    """Return the triggerers in which tasks have waited for a slot: their job ends the name of the log."""
    logs = airflow.home.glob("logs/dag_id=run_deferred/run_id=quota/**/*.trigger.*.log")
    return {log.name.split(".")[-2] for log in logs if "Waiting for a slot" in log.read_text()}
