"""A server with many runs, as fast as Python allows: what is polled where many waits are measured.

It knows the job library with its filter and its order, the status of a job group, how to cancel one, and nothing
else of the API. It counts requests and connections. Runs end when they are told to: ``POST /end`` with their ids.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

from aiohttp import web

#: Seconds over which the runs were started.
_STARTED_WITHIN = 3600.0


class Runs:
    """Runs that were started during the last hour, and go on until they are ended.

    :param count: how many.
    """

    def __init__(self, count: int) -> None:
        now = time.time()
        started = [now - _STARTED_WITHIN * (count - number) / count for number in range(count)]
        self.rows = {
            str(number + 1): {
                "id": number + 1,
                "status": "InProgress",
                "ranfrom": "api",
                "ranfor": "recipe",
                "createdAt": _timestamp(moment),
                "updatedAt": _timestamp(moment + 5),
                "wrangledDataset": {"id": 7},
                "creator": {"id": 17},
                "flowrun": None,
            }
            for number, moment in enumerate(started)
        }
        self.requests: Counter[str] = Counter()
        self.peers: set[Any] = set()

    async def library(self, request: web.Request) -> web.Response:
        """List job groups."""
        self._count(request, "list")
        since = _timestamp(int(request.query["dateFilter[updatedAt][gte]"]) / 1000)
        found = [row for row in self.rows.values() if row["updatedAt"] >= since]
        found.sort(key=lambda row: str(row["updatedAt"]), reverse=True)
        offset, limit = int(request.query["offset"]), int(request.query["limit"])
        return web.json_response({"data": found[offset : offset + limit], "count": len(found)})

    async def status(self, request: web.Request) -> web.Response:
        """Return the status of a job group."""
        self._count(request, "status")
        return web.json_response(self.rows[request.match_info["id"]]["status"])

    async def jobs(self, request: web.Request) -> web.Response:
        """List the jobs of a job group: there are none."""
        self._count(request, "jobs")
        return web.json_response({"data": []})

    async def cancel(self, request: web.Request) -> web.Response:
        """Cancel a job group."""
        self._count(request, "cancel")
        identity = request.match_info["id"]
        self._end(identity, "Canceled")
        return web.json_response({"jobgroupId": int(identity), "jobIds": []})

    async def person(self, request: web.Request) -> web.Response:
        """Return the user."""
        self._count(request, "person")
        return web.json_response({"id": 17})

    async def end(self, request: web.Request) -> web.Response:
        """End runs."""
        for identity in await request.json():
            self._end(identity, "Complete")
        return web.json_response(None)

    async def counted(self, request: web.Request) -> web.Response:
        """Return what was counted since the last time."""
        counted = {"requests": dict(self.requests), "connections": len(self.peers)}
        self.requests.clear()
        return web.json_response(counted)

    def _end(self, identity: str, status: str) -> None:
        self.rows[identity] |= {"status": status, "updatedAt": _timestamp(time.time())}

    def _count(self, request: web.Request, route: str) -> None:
        self.requests[route] += 1
        if request.transport is not None:
            self.peers.add(request.transport.get_extra_info("peername"))


def _timestamp(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def running(count: int) -> Iterator[str]:
    """Run the server in a process of its own; yield its URL."""
    process = subprocess.Popen([sys.executable, __file__, str(count)], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{json.loads(process.stdout.readline())}"
    finally:
        process.terminate()
        process.wait()


async def main(count: int) -> None:
    """Serve until the process is ended."""
    runs = Runs(count)
    app = web.Application()
    app.add_routes(
        [
            web.get("/v4/jobLibrary", runs.library),
            web.get("/v4/jobGroups/{id}/status", runs.status),
            web.get("/v4/jobGroups/{id}/jobs", runs.jobs),
            web.post("/v4/jobGroups/{id}/cancel", runs.cancel),
            web.get("/v4/people/current", runs.person),
            web.post("/end", runs.end),
            web.get("/counted", runs.counted),
        ]
    )
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    print(json.dumps(runner.addresses[0][1]), flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
