"""The cost of the clients relative to the bare libraries, on the same server in the same run."""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable

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
