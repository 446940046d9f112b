"""Airflow fails tasks that are resumed soon after their deferral: how long they stay deferred at least."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from unittest import mock

import pytest
from kinds import JOB_GROUPS, PERSON
from support import FakeClock, TaskDeferred, drain, interrupt_once

from airflow_provider_trifacta.airflow_support.deferrals import min_deferral
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import (
    TrifactaJobGroupCanceled,
    TrifactaJobGroupTimeout,
    TrifactaTaskKilled,
)
from airflow_provider_trifacta.get_provider_info import get_provider_info
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.triggers import run as run_trigger
from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger

Connect = Callable[..., None]
OPTION = "AIRFLOW__TRIFACTA__MIN_DEFERRAL_SECONDS"
NOW = 1_700_000_000.0


@pytest.fixture(autouse=True)
def _the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(OPTION)


@pytest.fixture
def running(emulator: Emulator, connect: Connect) -> int:
    connect(emulator)
    return int(JOB_GROUPS.start_row(emulator, PERSON)["id"])


@pytest.fixture
def clock() -> Iterator[FakeClock]:
    clock = FakeClock(NOW)
    with mock.patch.dict(TrifactaHook.__init__.__kwdefaults__, clock=clock):
        yield clock


def _trigger(run: int, **arguments: Any) -> TrifactaJobGroupTrigger:
    return TrifactaJobGroupTrigger(run, **{"poll_interval": 2.0, "began": NOW, **arguments})


def test_a_task_is_not_resumed_sooner_than_30_seconds_after_its_deferral(
    running: int,
    emulator: Emulator,
    clock: FakeClock,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level("INFO")
    emulator.change_settings(pace="at-once")
    trigger = _trigger(running)
    (event,) = asyncio.run(drain(trigger.run()))
    assert event.payload["status"] == "Complete"
    assert clock.now == pytest.approx(NOW + 30)
    assert f"The wait for job group {running} is over; the task is resumed in 29 s" in (
        caplog.text + capsys.readouterr().out  # Airflow 3 prints what triggers log
    )


@pytest.mark.parametrize("began", [NOW - 60, None])
def test_an_older_deferral_is_resumed_at_once(
    running: int, emulator: Emulator, clock: FakeClock, began: float | None
) -> None:
    emulator.change_settings(pace="polls=60")
    trigger = _trigger(running, began=began)
    asyncio.run(drain(trigger.run()))
    assert max(clock.slept) < 2.3
    assert clock.now > NOW + 40


def test_a_worker_whose_clock_is_ahead_does_not_hold_a_task_for_longer(
    running: int, emulator: Emulator, clock: FakeClock
) -> None:
    emulator.change_settings(pace="at-once")
    trigger = _trigger(running, began=NOW + 7200)
    asyncio.run(drain(trigger.run()))
    assert clock.now < NOW + 32


def test_the_task_has_time_left_before_its_deadline(running: int, emulator: Emulator, clock: FakeClock) -> None:
    emulator.change_settings(pace="at-once")
    trigger = _trigger(running, deadline=NOW + 21)
    asyncio.run(drain(trigger.run()))
    assert clock.now == pytest.approx(NOW + 11, abs=0.2)


@pytest.mark.parametrize("value", ["0", "12.5"])
def test_the_option(
    monkeypatch: pytest.MonkeyPatch, running: int, emulator: Emulator, clock: FakeClock, value: str
) -> None:
    monkeypatch.setenv(OPTION, value)
    emulator.change_settings(pace="at-once")
    trigger = _trigger(running)
    asyncio.run(drain(trigger.run()))
    assert clock.now == pytest.approx(NOW + max(1.0, float(value)), abs=0.2)


@pytest.mark.parametrize("value", ["soon", "-1", "nan", "inf", "601", ""])
def test_a_value_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, value: str
) -> None:
    monkeypatch.setenv(OPTION, value)
    assert min_deferral(logging.getLogger("airflow.test")) == 30
    assert "[trifacta] min_deferral_seconds" in caplog.text


def test_airflow_knows_the_option() -> None:
    from airflow.configuration import conf
    from airflow.providers_manager import ProvidersManager

    ProvidersManager().initialize_providers_configuration()
    options = get_provider_info()["config"]["trifacta"]["options"]
    assert float(options["min_deferral_seconds"]["default"]) == 30
    assert conf.getfloat("trifacta", "min_deferral_seconds") == 30


class _HeldTrigger:
    """Kills a trigger while it holds its event back."""

    def __init__(
        self, trigger: TrifactaJobGroupTrigger, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self._trigger = trigger
        self._held = asyncio.Event()

        async def is_still_deferred(*_: Any) -> bool:
            return False

        async def sleep(seconds: float) -> None:
            if seconds < 5:
                clock.sleep(seconds)
                return
            self._held.set()
            await asyncio.Event().wait()

        monkeypatch.setattr(run_trigger, "is_still_deferred", is_still_deferred)
        monkeypatch.setattr(clock, "async_sleep", sleep)

    async def kill(self) -> None:
        task = asyncio.create_task(drain(self._trigger.run()))
        await asyncio.wait_for(self._held.wait(), 10)
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        if hasattr(run_trigger.BaseTrigger, "on_kill"):
            await self._trigger.on_kill()


def test_a_kill_while_the_event_is_held_back_has_nothing_to_cancel(
    running: int, emulator: Emulator, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.change_settings(pace="at-once")
    trigger = _trigger(running, cancel_on_kill=True)
    asyncio.run(_HeldTrigger(trigger, clock, monkeypatch).kill())
    assert not emulator.calls("cancelJobGroup")


def test_a_kill_while_an_error_is_held_back_cancels(
    running: int, emulator: Emulator, clock: FakeClock, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulator.order("getJobGroupStatus", "status", status=400)
    trigger = _trigger(running, cancel_on_kill=True)
    asyncio.run(_HeldTrigger(trigger, clock, monkeypatch).kill())
    assert len(emulator.calls("cancelJobGroup")) == 1


def _operator(**arguments: Any) -> TrifactaRunJobGroupOperator:
    return TrifactaRunJobGroupOperator(
        **{"task_id": "task", "wrangled_dataset_id": 7, "deferrable": True, **arguments}
    )


def test_a_short_run_is_seen_through_without_a_deferral(
    context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    emulator.change_settings(pace="polls=2")
    assert _operator().execute(context) == emulator.job_groups[0]["id"]


def test_a_longer_run_is_waited_for_in_the_triggerer(
    context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    emulator.change_settings(pace="seconds=1000")
    began = time.monotonic()
    with pytest.raises(TaskDeferred):
        _operator().execute(context)
    assert time.monotonic() - began < 10
    assert len(emulator.calls("getJobGroupStatus")) == 2


def test_a_status_that_cannot_be_read_is_left_to_the_triggerer(
    context: dict[str, Any], emulator: Emulator, connect: Connect
) -> None:
    connect(emulator)
    emulator.order("getJobGroupStatus", "status", status=503, call=None)
    with pytest.raises(TaskDeferred):
        _operator().execute(context)
    assert len(emulator.calls("getJobGroupStatus")) == 1


def test_a_kill_before_the_deferral(context: dict[str, Any], emulator: Emulator, connect: Connect) -> None:
    connect(emulator)
    emulator.change_settings(pace="seconds=1000")
    operator = _operator()
    with (
        interrupt_once(lambda: bool(emulator.calls("getJobGroupStatus")), operator.on_kill),
        pytest.raises((TrifactaJobGroupCanceled, TrifactaTaskKilled)),
    ):
        operator.execute(context)
    assert len(emulator.calls("cancelJobGroup")) == 1


def test_a_timeout_before_the_deferral(context: dict[str, Any], emulator: Emulator, connect: Connect) -> None:
    from airflow_provider_trifacta.airflow_support.compat import AirflowTaskTimeout

    connect(emulator)
    emulator.change_settings(pace="seconds=1000")

    def timed_out() -> None:
        raise AirflowTaskTimeout("Timeout")

    with (
        interrupt_once(lambda: bool(emulator.calls("getJobGroupStatus")), timed_out),
        pytest.raises(TrifactaJobGroupTimeout, match="it was canceled"),
    ):
        _operator(execution_timeout=timedelta(seconds=90)).execute(context)
    assert len(emulator.calls("cancelJobGroup")) == 1
