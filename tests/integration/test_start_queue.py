"""The queue in the triggerer: order, spread and adaptation, in time that only moves when everybody waits."""

from __future__ import annotations

import asyncio
import logging
import selectors
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import pytest
from support import copy_of

from airflow_provider_trifacta.triggers.start_slot import StartSlotTrigger

T = TypeVar("T")
START = 1_700_000_000.0


class _Loop(asyncio.SelectorEventLoop):
    """An event loop that does not sleep: its time jumps to the next moment at which something happens."""

    def __init__(self) -> None:
        loop = self
        self.now = START

        class Selector(selectors.SelectSelector):
            def select(self, timeout: float | None = None) -> Any:
                loop.now += timeout or 0.0
                return super().select(0)

        super().__init__(Selector())
        self._clock_resolution = 1e-6

    def time(self) -> float:
        return self.now


class _LoopClock:
    def time(self) -> float:
        return asyncio.get_running_loop().time()

    monotonic = time

    def sleep(self, seconds: float) -> None:
        raise AssertionError("a trigger does not block")

    async def async_sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch) -> Callable[[Awaitable[T]], T]:
    monkeypatch.setattr(StartSlotTrigger, "clock", _LoopClock())

    def run(work: Any) -> Any:
        with asyncio.Runner(loop_factory=_Loop) as runner:
            return runner.run(work)

    return run


async def event_of(**arguments: Any) -> dict[str, Any]:
    trigger = copy_of(StartSlotTrigger(**{"operation": "run_job_group", "waiting_since": START, **arguments}))
    (event,) = [event async for event in trigger.run()]
    payload: dict[str, Any] = event.payload
    return payload


def now() -> float:
    return asyncio.get_running_loop().time() - START


class Server:
    """A quota of ``limit`` starts in fixed windows, and tasks that reach it some seconds after their slot."""

    def __init__(self, limit: int, window: float = 60.0, *, headers: bool = True) -> None:
        self.limit, self.window, self.headers = limit, window, headers
        self.counts: dict[int, int] = {}
        self.started: list[float] = []
        self.refused: list[float] = []

    def submit(self) -> dict[str, Any] | None:
        """Return None for a start, or what a refusal reports."""
        moment = asyncio.get_running_loop().time()
        window = int(moment // self.window)
        if self.counts.get(window, 0) < self.limit:
            self.counts[window] = self.counts.get(window, 0) + 1
            self.started.append(now())
            return None
        self.refused.append(now())
        ends = (window + 1) * self.window
        return {"until": ends, "limit": self.limit, "resets_at": ends} if self.headers else {}

    async def task(self, latency: float, **arguments: Any) -> None:
        """Wait for a slot and submit, until that is not refused."""
        seen, had_slot = arguments.pop("seen", None), False
        while True:
            await event_of(seen=seen, refused=had_slot, had_slot=had_slot, **arguments)
            await asyncio.sleep(latency)
            seen, had_slot = self.submit(), True
            if seen is None:
                return


async def gather(*work: Awaitable[Any]) -> None:
    await asyncio.gather(*work)


def test_the_first_come_is_the_first_served(run: Any) -> None:
    order: list[int] = []

    async def wait(number: int) -> None:
        await event_of(waiting_since=START - number, seen={"limit": 6, "until": START + 20})
        order.append(number)

    # They arrive in another order, as after a restart of the triggerer.
    run(gather(*(wait(number) for number in (3, 1, 5, 2, 4))))
    assert order == [5, 4, 3, 2, 1]


def test_who_leaves_knows_how_many_are_behind(run: Any) -> None:
    behind: list[int] = []

    async def wait() -> None:
        behind.append((await event_of(seen={"limit": 6, "until": START + 20}))["behind"])

    run(gather(*(wait() for _ in range(4))))
    assert behind == [3, 2, 1, 0]


def test_slots_are_spread_over_the_window(run: Any) -> None:
    moments: list[float] = []

    async def wait() -> None:
        await event_of(seen={"limit": 6, "until": START + 20, "window": 60.0})
        moments.append(now())

    run(gather(*(wait() for _ in range(6))))
    assert moments == pytest.approx([20, 30, 40, 50, 60, 70])


def test_a_rate_that_a_user_specified(run: Any) -> None:
    moments: list[float] = []

    async def wait() -> None:
        await event_of(starts_per_minute=20.0)
        moments.append(now())

    run(gather(*(wait() for _ in range(4))))
    assert moments == pytest.approx([2, 5, 8, 11])


def test_connections_and_operations_do_not_wait_for_each_other(run: Any) -> None:
    async def main() -> float:
        wait = asyncio.create_task(event_of(seen={"limit": 1, "until": START + 60}))
        for arguments in ({"trifacta_conn_id": "other"}, {"operation": "run_flow"}):
            await event_of(**arguments)
        moment = now()
        await wait
        return moment

    assert run(main()) == pytest.approx(4)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> Callable[[], list[str]]:
    monkeypatch.setattr(StartSlotTrigger, "log", logging.getLogger("trigger"))
    caplog.set_level("INFO", logger="trigger")
    return lambda: [record.getMessage() for record in caplog.records if record.name == "trigger"]


def test_one_that_is_stopped_disturbs_nobody_and_cancels_nothing(run: Any, logged: Any) -> None:
    async def main() -> None:
        first = asyncio.create_task(event_of(waiting_since=START - 2, seen={"limit": 6, "until": START + 20}))
        second = asyncio.create_task(event_of(waiting_since=START - 1))
        third = asyncio.create_task(event_of(waiting_since=START))
        await asyncio.sleep(5)
        first.cancel()
        second.cancel()
        assert (await third)["outcome"] == "slot"
        assert first.cancelled()
        assert second.cancelled()
        assert now() == pytest.approx(20)
        assert len(asyncio.all_tasks()) == 1

    run(main())
    assert logged().count("No longer waiting here. Nothing was submitted, so there is nothing to cancel") == 2


@pytest.mark.parametrize("place", [0, 1], ids=["first", "behind"])
def test_the_deadline(run: Any, place: int) -> None:
    async def main() -> tuple[dict[str, Any], float]:
        others = [
            asyncio.create_task(event_of(waiting_since=START - 9, seen={"limit": 1, "until": START + 200}))
            for _ in range(place)
        ]
        event = await event_of(seen={"limit": 1, "until": START + 200}, deadline=START + 30)
        moment = now()
        await gather(*others)
        return event, moment

    event, moment = run(main())
    assert event == {"outcome": "deadline", "waiting_since": START}
    assert moment == pytest.approx(30)


def test_a_deadline_that_has_passed(run: Any, logged: Any) -> None:
    assert run(event_of(deadline=START - 1))["outcome"] == "deadline"
    assert logged()[-1] == "The execution_timeout passed before the start was due. Nothing was submitted"


@pytest.mark.parametrize(
    "seen",
    [
        {"until": "soon", "limit": None, "window": -1},
        {"until": 1e300, "limit": 0.0, "resets_at": [], "window": float("nan")},
        {"limit": 1e300, "window": 1e-300},
        ["not", "a", "mapping"],
    ],
    ids=str,
)
def test_values_that_make_no_sense_end_no_wait_and_make_none_endless(run: Any, seen: Any) -> None:
    trigger = StartSlotTrigger(operation="run_job_group", waiting_since=START, seen=seen)

    async def main() -> float:
        (event,) = [event async for event in trigger.run()]
        assert event.payload["outcome"] == "slot"
        return now()

    assert 2 <= run(main()) <= 300


def test_arguments_of_another_version(logged: Any) -> None:
    StartSlotTrigger()
    trigger = StartSlotTrigger(operation="run_flow", colour="green")
    assert "colour" not in trigger.serialize()[1]
    assert logged() == ["Ignoring arguments of another version of the provider: ['colour']"]


def test_a_refusal_keeps_its_place(run: Any) -> None:
    order: list[int] = []

    async def wait(number: int, **arguments: Any) -> None:
        await event_of(waiting_since=START + number, **arguments)
        order.append(number)

    async def main() -> None:
        waiting = [asyncio.create_task(wait(number)) for number in (1, 2, 3)]
        await asyncio.sleep(3)
        again = wait(0, seen={"until": START + 30, "limit": 6}, refused=True, had_slot=True)
        await gather(again, *waiting)

    run(main())
    assert order == [1, 0, 2, 3]


def test_refusals_are_rare(run: Any) -> None:
    server = Server(30)
    # The first task was refused; all others wait behind it.
    run(gather(*(server.task(1 + number % 5, seen={"limit": 30}) for number in range(300))))
    assert len(server.started) == 300
    assert len(server.refused) <= 0.05 * (300 + len(server.refused))
    assert max(server.started) <= 1.15 * 9 * 60 + 60


@pytest.mark.parametrize("headers", [True, False])
def test_two_triggerers_share_a_quota(run: Any, headers: bool) -> None:
    server = Server(30, headers=headers)
    conn_ids = ("one", "two")
    run(
        gather(
            *(
                server.task(1 + number % 5, trifacta_conn_id=conn_id, seen={"limit": 30} if headers else {})
                for conn_id in conn_ids
                for number in range(300)
            )
        )
    )
    assert len(server.started) == 600
    assert len(server.refused) <= 0.25 * (600 + len(server.refused))
    assert max(server.started) <= 1.3 * 20 * 60


def test_a_window_of_another_length_is_learned(run: Any) -> None:
    server = Server(6, window=15)

    async def main() -> None:
        for _ in range(2):  # refusals in two windows
            ends = (asyncio.get_running_loop().time() // 15 + 1) * 15
            await event_of(seen={"limit": 6, "resets_at": ends, "until": ends})
        await gather(*(server.task(1.0) for _ in range(12)))

    run(main())
    assert server.started[-1] - server.started[0] == pytest.approx(11 * 2.5, rel=0.2)
