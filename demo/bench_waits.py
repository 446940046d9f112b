"""What it costs to wait for many runs in one triggerer."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

# Before anything imports Airflow, which reads it once.
os.environ.setdefault("AIRFLOW_HOME", tempfile.mkdtemp(prefix="airflow-home-"))
os.environ.setdefault("AIRFLOW__LOGGING__LOGGING_LEVEL", "WARNING")

import aiohttp
import runs_server

from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger

#: Runs that end while no triggerer looks, and runs that end while it does.
ENDED_BEFORE = 100
ENDED_LATER = 20
#: Seconds that costs are counted for.
COUNTED = 120.0


def main() -> None:
    """Print the figures, each set from a process of its own."""
    if len(sys.argv) > 1:
        count, poll_interval, most_requests = map(int, sys.argv[1:])
        logging.getLogger().setLevel(logging.WARNING)
        with runs_server.running(count) as url:
            asyncio.run(waits(url, count, poll_interval, most_requests))
        return
    for arguments in (["10000", "30", "60"], ["1000", "5", "30"]):
        subprocess.run([sys.executable, __file__, *arguments], check=True)


async def waits(url: str, count: int, poll_interval: float, most_requests: int) -> None:
    """Restart a triggerer with waits that began during the last hour, and go on waiting."""
    # One connection for control: it is counted, and subtracted.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session:
        os.environ["AIRFLOW_CONN_TRIFACTA_DEFAULT"] = json.dumps(
            {"conn_type": "trifacta", "host": url, "password": "token"}
        )

        async def counted() -> dict[str, Any]:
            async with session.get(f"{url}/counted") as answer:
                result: dict[str, Any] = await answer.json()
                return result

        async def end(identities: list[int]) -> None:
            await (await session.post(f"{url}/end", json=[str(identity) for identity in identities])).read()

        seen: dict[int, float] = {}
        wrong: list[Any] = []
        caught_up = asyncio.Event()

        async def wait_for(identity: int) -> None:
            began = time.time() - 3600 * (count - identity) / count
            trigger = TrifactaJobGroupTrigger(identity, poll_interval=poll_interval, began=began)
            async for event in trigger.run():
                seen[identity] = time.monotonic()
                if len(seen) == len(before):
                    caught_up.set()
                if event.payload["status"] != "Complete":
                    wrong.append(event.payload)

        before = list(range(1, count, count // ENDED_BEFORE))[:ENDED_BEFORE]
        later = list(range(2, count, count // ENDED_LATER))[:ENDED_LATER]
        await end(before)
        memory = _memory()
        tasks = []
        for identity in range(1, count + 1):
            tasks.append(asyncio.create_task(wait_for(identity)))
            if identity % 50 == 0:  # the triggerer starts them one after the other, too
                await asyncio.sleep(0.01)
        await caught_up.wait()
        await asyncio.sleep(10)
        at_first = await counted()
        memory = _memory() - memory
        lags: list[float] = []
        measuring = asyncio.create_task(_measure(lags))
        ended: dict[int, float] = {}
        for identity in later:
            await end([identity])
            ended[identity] = time.monotonic()
            await asyncio.sleep(COUNTED / len(later))
        steady = await counted()
        await asyncio.sleep(poll_interval + 5)
        measuring.cancel()
        print(f"{count} waits at {poll_interval:.0f} s, {len(before)} of which ended before a restart:")
        _print("requests to catch up", sum(at_first["requests"].values()), 1000, at_first["requests"])
        per_minute = sum(steady["requests"].values()) * 60 / COUNTED
        _print("requests a minute", per_minute, most_requests, steady["requests"])
        _print("event loop lag p99 [ms]", _percentile(lags, 0.99) * 1000, 50, f"worst {max(lags) * 1000:.0f}")
        _print("memory per wait [KB]", memory / count / 1000, 10)
        _print("TCP connections", steady["connections"] - 1, 4)
        delays = [seen[identity] - moment for identity, moment in ended.items() if identity in seen]
        _print("an end is seen after, p95 [s]", _percentile(delays, 0.95), poll_interval + 5)
        missed = len({*before, *later} - set(seen))
        _print("ends missed or invented", missed + len(wrong) + len(set(seen) - {*before, *later}), 0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        left = [task for task in asyncio.all_tasks() if task is not asyncio.current_task()]
        _print("tasks left when the last wait has ended", len(left), 0)


async def _measure(lags: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await asyncio.sleep(0.01)
        lags.append(time.perf_counter() - began - 0.01)


def _memory() -> int:
    """Return the memory that this process holds, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _percentile(values: list[float], share: float) -> float:
    return sorted(values)[min(len(values) - 1, int(len(values) * share))]


def _print(what: str, value: float, most: float, detail: Any = "") -> None:
    print(f"  {what}: {value:.3g} (at most {most:g}){f'; {detail}' if detail else ''}", flush=True)


if __name__ == "__main__":
    main()
