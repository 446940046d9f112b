from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_instance import AirflowInstance
from distribution import distribution

from airflow_provider_trifacta.emulator import Emulator

HERE = Path(__file__).parent
#: For how many runs the test of many waits waits; the DAGs read this, too.
os.environ.setdefault("DISTRIBUTED_WAITS", "2000")
#: The DAGs of the system tests need them.
os.environ.setdefault("OAUTH_READERS", "1")
os.environ.setdefault("ROTATED_WAITS", "1")


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator(pace="seconds=2", enforce_quotas=False) as running:
        running.change_settings(quotas={"runJobGroup": (10**6, 10**6)})
        yield running


@pytest.fixture(scope="session")
def airflow(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowInstance]:
    """A distributed Airflow with the DAGs of ``dags`` and those that rotate and refresh tokens."""
    # Its processes must not outlive the tests, however these are ended.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    folder = tmp_path_factory.mktemp("distribution")
    dags = folder / "dags"
    shutil.copytree(HERE / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("rotation", "oauth"):
        shutil.copy(HERE.parent / "system" / "dags" / f"{name}.py", dags)
    settings = {
        # A worker that is lost is noticed within a minute, not five.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "5",
        # What a lost worker had taken from the queue is put there again within a minute or so, not in ten.
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
        "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
        # One triggerer must be able to take all the waits of two.
        "AIRFLOW__TRIGGERER__CAPACITY": "10000",
        # So that the lag of its event loop can be read in its log.
        "AIRFLOW__TRIGGERER__BLOCKED_MAIN_THREAD_WARNING_THRESHOLD": "0.12",
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "1",
    }
    with distribution(folder / "home", dags, settings) as instance:
        instance.set_connection(
            "trifacta_default", conn_type="trifacta", host=emulator.url, password=emulator.token
        )
        yield instance
