"""A real Airflow that is distributed: Celery workers, triggerers, and the servers that connect them."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import servers
from airflow_instance import AirflowInstance, Component
from databases import PostgresDatabase

WORKERS = ("worker-1", "worker-2")
TRIGGERERS = ("triggerer-1", "triggerer-2")
#: How many tasks a worker runs at a time.
SLOTS = 4


@contextlib.contextmanager
def distribution(home: Path, dags: Path, settings: Mapping[str, str] | None = None) -> Iterator[AirflowInstance]:
    """Run a scheduler, an API server, a DAG processor, two workers and two triggerers, until left.

    All processes run on this machine, but workers and triggerers have a host name and a folder for temporary files
    of their own, as on machines of their own.

    :param home: the folder for logs and temporary files.
    :param dags: the folder of the DAG files.
    :param settings: further environment variables.
    :raises RuntimeError: a server is not installed; names the package.
    """
    with servers.postgresql() as postgresql, servers.redis() as redis:
        machine = {
            "AIRFLOW__CORE__HOSTNAME_CALLABLE": "distribution.host_name",
            "PYTHONPATH": os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)]),
        }
        airflow = AirflowInstance(
            home,
            dags,
            database=PostgresDatabase(postgresql),
            components=[
                *(Component(name, (name,)) for name in ("scheduler", "api-server", "dag-processor")),
                *(_worker(name, home) for name in WORKERS),
                *(_triggerer(name, home) for name in TRIGGERERS),
            ],
            settings={
                "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
                "AIRFLOW__CORE__PARALLELISM": str(4 * SLOTS),
                "AIRFLOW__CELERY__BROKER_URL": redis,
                "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{PostgresDatabase(postgresql).url}",
                "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(SLOTS),
                **machine,
                **(settings or {}),
            },
        )
        try:
            airflow.start()
            yield airflow
        finally:
            airflow.stop()


def host_name() -> str:
    """Return the name of the machine that a process is said to run on. Airflow calls this."""
    return os.environ.get("DISTRIBUTION_HOST", "localhost")


def _worker(name: str, home: Path) -> Component:
    command = (
        "celery",
        "worker",
        "--celery-hostname",
        name,
        "--pid",
        str(home / f"{name}.pid"),
        "--skip-serve-logs",
    )
    return Component(name, command, _own_machine(name, home))


def _triggerer(name: str, home: Path) -> Component:
    return Component(name, ("triggerer", "--skip-serve-logs"), _own_machine(name, home))


def _own_machine(name: str, home: Path) -> dict[str, str]:
    temporary = home / f"tmp-{name}"
    temporary.mkdir(parents=True, exist_ok=True)
    return {"DISTRIBUTION_HOST": name, "TMPDIR": str(temporary)}
