from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from airflow_instance import IS_AIRFLOW_3, AirflowInstance

from airflow_provider_trifacta.emulator import Emulator

HERE = Path(__file__).parent
#: How many tasks use one token pair at a time, how many start while there is a quota, and how many outlive the
#: rotations of their token; the DAGs read this, too.
os.environ.setdefault("OAUTH_READERS", "6" if IS_AIRFLOW_3 else "2")
os.environ.setdefault("QUOTA_STARTS", "8")
os.environ.setdefault("ROTATED_WAITS", "16")

#: Settings of an Airflow 2.
_ONLY_FOR_THE_DAG_LINEAGE = """\
import os, sys

os.environ["OPENLINEAGE_DISABLED"] = str("lineage" not in sys.argv).lower()
"""


@pytest.fixture(scope="session")
def emulator() -> Iterator[Emulator]:
    with Emulator(pace="seconds=2", enforce_quotas=False) as running:
        yield running


@pytest.fixture(scope="session")
def airflow(emulator: Emulator, tmp_path_factory: pytest.TempPathFactory) -> Iterator[AirflowInstance]:
    """A real Airflow with the example DAGs and those of ``dags``."""
    folder = tmp_path_factory.mktemp("airflow")
    dags = folder / "dags"
    shutil.copytree(HERE / "dags", dags, ignore=shutil.ignore_patterns("__pycache__"))
    for file in (HERE.parents[1] / "example_dags").glob("*.py"):
        shutil.copy(file, dags)
    settings = {
        # A worker that is lost is noticed within seconds.
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "15",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
        "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_SEC": "3",
        "AIRFLOW__CORE__PARALLELISM": os.environ.get("AIRFLOW_SLOTS", "8"),
        # Job groups take two seconds here, and are to be waited for in the triggerer all the same.
        "AIRFLOW__TRIFACTA__MIN_DEFERRAL_SECONDS": "1",
        # Where a trigger fires soon after the deferral, Airflow may fail a try that was good
        # (apache/airflow 66374). The next one goes on with its run.
        "AIRFLOW__CORE__DEFAULT_TASK_RETRY_DELAY": "3",
        # Only of the DAGs that say so, and with patience for a busy machine.
        "AIRFLOW__OPENLINEAGE__TRANSPORT": json.dumps(
            {"type": "file", "log_file_path": str(folder / "lineage.jsonl"), "append": True}
        ),
        "AIRFLOW__OPENLINEAGE__SELECTIVE_ENABLE": "True",
        "AIRFLOW__OPENLINEAGE__EXECUTION_TIMEOUT": "60",
    }
    instance = AirflowInstance(folder / "home", dags, with_ui=True, settings=settings)
    if not IS_AIRFLOW_3:
        # Each task is a new process, which needs a second more with OpenLineage.
        config = instance.home / "config"
        config.mkdir(parents=True)
        (config / "airflow_local_settings.py").write_text(_ONLY_FOR_THE_DAG_LINEAGE)
    try:
        instance.start()
        instance.set_connection(
            "trifacta_default", conn_type="trifacta", host=emulator.url, password=emulator.token
        )
        yield instance
    finally:
        instance.stop()
