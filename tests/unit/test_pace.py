from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support import FakeClock

from airflow_provider_trifacta.api.gate import Gate
from airflow_provider_trifacta.api.pace import Pace


@given(
    per_second=st.floats(0.01, 100),
    burst=st.integers(1, 20),
    pauses=st.lists(st.floats(0, 100), min_size=1, max_size=100),
)
def test_no_more_than_so_many_in_any_span(per_second: float, burst: int, pauses: list[float]) -> None:
    pace = Pace(per_second, burst=burst)
    now, allowed = 1000.0, []
    for pause in pauses:
        now += pause
        if pace.allows(now):
            allowed.append(now)
        else:
            assert pace.wait(now) > 0
    for first, begin in enumerate(allowed):
        for last in range(first, len(allowed)):
            assert last - first + 1 <= burst + (allowed[last] - begin) * per_second + 1e-6


def test_reserving_spreads_what_comes_at_once() -> None:
    pace = Pace(20, burst=3)
    assert [round(pace.reserve(100.0), 3) for _ in range(6)] == [0, 0, 0, 0.05, 0.1, 0.15]
    assert pace.wait(200.0) == 0


def test_the_gate_limits_how_many_are_under_way_and_how_many_begin() -> None:
    clock = FakeClock()
    gate = Gate(clock, at_once=2, per_second=10, burst=1)
    under_way, most, began = 0, 0, []

    async def request() -> None:
        nonlocal under_way, most
        async with gate.passage():
            began.append(clock.now)
            under_way += 1
            most = max(most, under_way)
            await asyncio.sleep(0)
            under_way -= 1

    async def send() -> None:
        await asyncio.gather(*(request() for _ in range(6)))

    asyncio.run(send())
    assert most == 2
    assert clock.slept == pytest.approx([0.1] * 5)
    assert began == sorted(began)
    assert gate.waiting == 0


def test_one_that_is_canceled_at_the_gate_takes_no_place() -> None:
    gate = Gate(FakeClock(), at_once=1, per_second=1000, burst=10)

    async def send() -> None:
        release = asyncio.Event()

        async def request() -> None:
            async with gate.passage():
                await release.wait()

        first, second, third = (asyncio.create_task(request()) for _ in range(3))
        await asyncio.sleep(0.01)
        assert gate.waiting == 2
        second.cancel()
        await asyncio.sleep(0.01)
        assert gate.waiting == 1
        first.cancel()
        await asyncio.sleep(0.01)
        assert gate.waiting == 0
        release.set()
        await third

    asyncio.run(send())
