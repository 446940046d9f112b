"""The cost of the clients relative to the bare libraries, on the same server in the same run."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import redirect_stdout
from io import StringIO
from typing import Any

import aiohttp
import requests

from airflow_provider_trifacta.api.async_client import AsyncTrifactaClient
from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.emulator import Emulator

CALLS = 300
ROUNDS = 7


def main() -> None:
    """Print the ratios. Rounds of both sides alternate, and the median round counts."""
    server = subprocess.Popen(  # a separate process, so that it does not share our interpreter
        [sys.executable, "-m", "airflow_provider_trifacta.emulator", "--port", "0", "--pace", "at-once"],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert server.stdout is not None
        url, token = (server.stdout.readline().split()[1] for _ in range(2))
        synchronous(url, token)
        asyncio.run(asynchronous(url, token))
    finally:
        server.terminate()
        server.wait()
    connections()
    requests_of_a_task()
    imports()


def synchronous(url: str, token: str) -> None:
    """Compare the client with a reused session."""
    settings = ClientSettings(url)
    with TrifactaClient(settings, token) as client, requests.Session() as session:
        identity = client.run_job_group(7)["id"]
        headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}

        def bare() -> None:
            response = session.get(f"{url}/v4/jobGroups/{identity}/status", headers=headers, timeout=(10, 60))
            response.raise_for_status()
            response.json()

        def ours() -> None:
            client.get_job_group_status(identity)

        times = [(_timed(bare), _timed(ours)) for _ in range(ROUNDS)]
    ratio = _median([b / a for a, b in times])
    print(f"status call, client / bare requests.Session: {ratio:.2f} (at most 1.15)")


async def asynchronous(url: str, token: str) -> None:
    """Compare the asynchronous client with a reused session."""
    settings = ClientSettings(url)
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    async with AsyncTrifactaClient(settings, token) as client, aiohttp.ClientSession() as session:
        identity = (await client.run_job_group(7))["id"]

        async def bare() -> None:
            async with session.get(f"{url}/v4/jobGroups/{identity}/status", headers=headers) as response:
                response.raise_for_status()
                await response.json()

        async def ours() -> None:
            await client.get_job_group_status(identity)

        times = [(await _atimed(bare), await _atimed(ours)) for _ in range(ROUNDS)]
    ratio = _median([a / b for a, b in times])
    print(f"asynchronous status calls per second, client / bare aiohttp: {ratio:.2f} (at least 0.90)")


def connections() -> None:
    """Count the TCP connections of many calls."""
    with Emulator() as emulator, TrifactaClient(ClientSettings(emulator.url), emulator.token) as client:
        identity = client.run_job_group(7)["id"]
        for _ in range(CALLS):
            client.get_job_group_status(identity)
        print(f"TCP connections of {CALLS} calls: {emulator.connections} (1)")


class _TaskInstance:
    """What an operator needs of its task instance here."""

    dag_id = task_id = run_id = "bench"
    map_index = -1
    start_date = None

    def xcom_push(self, key: str, value: object) -> None:
        """Forget a value."""

    def xcom_pull(self, **_: object) -> None:
        """Return that there is none."""


def requests_of_a_task() -> None:
    """Count the requests of a task whose job group ends at once, without and with all that it can report."""
    from airflow.sdk import Asset, AssetAlias
    from airflow.sdk.execution_time.context import OutletEventAccessors

    from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

    def count(*, reports: bool, **arguments: Any) -> Counter[str]:
        with Emulator(pace="at-once") as emulator:
            connection = {"conn_type": "trifacta", "host": emulator.url, "password": emulator.token}
            os.environ["AIRFLOW_CONN_TRIFACTA_DEFAULT"] = json.dumps(connection)
            task = TrifactaRunJobGroupOperator(task_id="bench", wrangled_dataset_id=7, durable=False, **arguments)
            with redirect_stdout(StringIO()):  # the task's log
                task.execute({"ti": _TaskInstance(), "outlet_events": OutletEventAccessors()})
                if reports:
                    task.get_openlineage_facets_on_complete(None)
            return Counter(str(entry.operation) for entry in emulator.app.journal)

    with tempfile.TemporaryDirectory() as folder:
        plain = count(reports=False)
        all_of_it = count(
            reports=True,
            outputs_json_path=f"{folder}/outputs.json",
            outlets=[Asset("bench"), AssetAlias("bench")],
            emit_output_assets=True,
        )
    print(f"requests of a task: {plain.total()}; {dict(plain)}")
    print(
        f"  more with lineage, asset events and saved outputs: {dict(all_of_it - plain)} (getJobGroupInputs once)"
    )


def imports() -> None:
    """Compare the imports for parsing a DAG file with those of Airflow alone."""
    alone, operators = "import airflow.sdk", "import airflow_provider_trifacta.operators.job_group"
    try:
        import airflow.sdk  # noqa: F401
    except ImportError:
        alone = "from airflow.models.baseoperator import BaseOperator"

    def timed(statement: str) -> float:
        began = time.perf_counter()
        subprocess.run([sys.executable, "-c", statement], check=True, capture_output=True)
        return time.perf_counter() - began

    timed(alone), timed(operators)
    times = [(timed(alone), timed(operators)) for _ in range(ROUNDS)]
    ratio = _median([b / a for a, b in times])
    print(f"import of the operators / {alone}: {ratio:.2f} (at most 1.10)")


def _timed(call: Callable[[], None]) -> float:
    began = time.perf_counter()
    for _ in range(CALLS):
        call()
    return time.perf_counter() - began


async def _atimed(call: Callable[[], Awaitable[None]]) -> float:
    began = time.perf_counter()
    for _ in range(CALLS):
        await call()
    return time.perf_counter() - began


def _median(values: list[float]) -> float:
    return statistics.median(values)


if __name__ == "__main__":
    main()
