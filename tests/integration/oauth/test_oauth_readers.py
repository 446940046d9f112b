"""Whoever only uses the access token of an OAuth connection: waits for the keeper, and never refreshes."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from oauth import VARIABLE, KeptClock, OAuthAirflow
from support import FakeTaskInstance, drain, run_deferred

from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK
from airflow_provider_trifacta.api.operations import get_current_person
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import (
    TrifactaConfigurationError,
    TrifactaOAuthPairLost,
    TrifactaTokenNotRefreshed,
    TrifactaUnauthorized,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor
from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger


class Reader:
    """Asks who the token belongs to, through a client of either kind that lives on."""

    def __init__(self, kind: str, airflow: OAuthAirflow, every: float | None, budget: float | None = None) -> None:
        self._kind = kind
        self.hook = TrifactaHook(clock=KeptClock(airflow, every), retry_budget=budget)

    def ask(self) -> str:
        if self._kind == "sync":
            return str(self.hook.get_current_person()["email"])
        return asyncio.run(self._ask())

    async def _ask(self) -> str:
        async with self.hook.async_client() as client:
            return str((await client.get_current_person())["email"])


@pytest.fixture(params=["sync", "async"])
def reader(request: pytest.FixtureRequest, airflow: OAuthAirflow) -> Callable[..., Reader]:
    return lambda every, budget=None: Reader(request.param, airflow, every, budget)


def refreshes(airflow: OAuthAirflow) -> int:
    return len(airflow.emulator.calls("oauthToken"))


# -------------------------------------------------------------------------------------------------------- waiting


def test_a_reader_waits_for_the_first_refresh(
    airflow: OAuthAirflow, reader: Callable[..., Reader], logged: Callable[[], str]
) -> None:
    assert reader(every=60).ask() == "emulator@example.com"
    assert refreshes(airflow) == 1
    text = logged()
    assert text.count("Reading it again until") == 1
    assert "has not been used yet" in text


def test_a_pair_without_the_settings_for_oauth_says_what_is_missing(airflow: OAuthAirflow) -> None:
    airflow.refresh()
    airflow.extra = {name: value for name, value in airflow.extra.items() if not name.startswith("oauth_")}
    works, said = TrifactaHook().test_connection()
    assert not works
    assert "is a JSON object, not a token. If it is an OAuth 2.0 token pair, set oauth_client_id" in said
    assert "***" not in said


def test_a_reader_outlives_its_token_many_times(airflow: OAuthAirflow, reader: Callable[..., Reader]) -> None:
    airflow.refresh()
    running = reader(every=120)
    for _ in range(40):
        assert running.ask() == "emulator@example.com"
        running.hook.clock.sleep(100)
    assert airflow.works


def test_without_a_keeper_a_reader_fails_and_spends_nothing(
    airflow: OAuthAirflow, reader: Callable[..., Reader]
) -> None:
    airflow.refresh()
    ends = airflow.pair.expires_at
    running = reader(every=None, budget=300)
    assert running.ask() == "emulator@example.com"
    airflow.clock.sleep(1000)
    stored, before, spent = airflow.variables[VARIABLE], airflow.clock.now, refreshes(airflow)
    with pytest.raises(TrifactaTokenNotRefreshed) as caught:
        running.ask()
    assert 295 <= airflow.clock.now - before <= 310
    said = str(caught.value)
    where = f"Variable '{VARIABLE}'" if airflow.kind == "variable" else "ComparingStore"
    for part in (where, f"{ends:%Y-%m-%d %H:%M:%S} UTC", "TrifactaRefreshOAuthTokenOperator", "trifacta_default"):
        assert part in said
    assert refreshes(airflow) == spent
    assert airflow.variables[VARIABLE] == stored


def test_a_store_that_cannot_be_read_is_read_again(airflow: OAuthAirflow, reader: Callable[..., Reader]) -> None:
    airflow.refresh()
    running = reader(every=None)
    until = airflow.clock.now + 100

    def fail(action: str, name: str) -> None:
        if airflow.clock.now < until:
            raise ConnectionError("no answer from Airflow")

    airflow.failing = fail
    assert running.ask() == "emulator@example.com"
    assert airflow.clock.now >= until


def test_it_is_read_about_every_second(airflow: OAuthAirflow, reader: Callable[..., Reader]) -> None:
    running = reader(every=None, budget=60)
    with pytest.raises(TrifactaTokenNotRefreshed, match="has not been used yet"):
        running.ask()
    slept = [seconds for seconds in running.hook.clock.slept if seconds]  # type: ignore[attr-defined]
    assert 45 <= len(slept) <= 90
    assert max(slept) <= 1.5


def test_five_fresh_tokens_that_are_refused_end_it(airflow: OAuthAirflow, reader: Callable[..., Reader]) -> None:
    airflow.refresh()
    running = reader(every=1)
    assert running.ask() == "emulator@example.com"
    airflow.emulator.order("getCurrentPerson", "status", call=None, status=401)
    before = airflow.clock.now
    with pytest.raises(TrifactaUnauthorized, match="generated for this server and workspace"):
        running.ask()
    assert airflow.clock.now - before < 60
    assert len(airflow.emulator.calls("getCurrentPerson")) == 1 + 6


def test_the_password_is_never_sent(airflow: OAuthAirflow, reader: Callable[..., Reader]) -> None:
    airflow.variables.pop(VARIABLE)
    with pytest.raises((TrifactaTokenNotRefreshed, TrifactaConfigurationError), match=r"does not exist|is empty"):
        reader(every=None, budget=5).ask()
    assert airflow.emulator.journal == []


def test_what_only_informs_does_not_wait(airflow: OAuthAirflow, logged: Callable[[], str]) -> None:
    airflow.refresh()
    hook = TrifactaHook(clock=KeptClock(airflow, None))
    assert hook.get_current_person()
    airflow.clock.sleep(1000)
    before = airflow.clock.now
    hook.warn_before_token_expires()
    with pytest.raises(TrifactaTokenNotRefreshed):
        hook.send(get_current_person().within(0.0))
    assert airflow.clock.now - before < 5


# ----------------------------------------------------------------------------------------------------- operators


@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])
def test_a_wait_of_many_token_lives(
    airflow: OAuthAirflow, monkeypatch: pytest.MonkeyPatch, deferrable: bool
) -> None:
    airflow.refresh()
    clock = KeptClock(airflow, 120)
    monkeypatch.setitem(TrifactaHook.__init__.__kwdefaults__, "clock", clock)
    airflow.emulator.change_settings(pace="seconds=3600")
    operator = TrifactaRunJobGroupOperator(task_id="run", wrangled_dataset_id=7, deferrable=deferrable)
    began = clock.now
    returned = run_deferred(operator, {"ti": FakeTaskInstance()})
    assert isinstance(returned, int)
    assert clock.now - began > 3000
    assert len(airflow.emulator.calls("runJobGroup")) == 1
    assert airflow.works


def test_a_sensor_waits_as_well(airflow: OAuthAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    airflow.refresh()
    monkeypatch.setitem(TrifactaHook.__init__.__kwdefaults__, "clock", KeptClock(airflow, 120))
    identity = TrifactaHook().run_job_group(7)["id"]
    sensor = TrifactaJobGroupSensor(task_id="wait", job_group_id=identity)
    assert sensor.poke({"ti": FakeTaskInstance()})


def test_a_task_without_a_token_starts_nothing(airflow: OAuthAirflow) -> None:
    operator = TrifactaRunJobGroupOperator(task_id="run", wrangled_dataset_id=7, retry_budget=10)
    with pytest.raises(TrifactaTokenNotRefreshed):
        operator.execute({"ti": FakeTaskInstance()})
    assert airflow.emulator.journal == []


def test_on_kill_with_a_token_that_has_just_ended(airflow: OAuthAirflow, logged: Callable[[], str]) -> None:
    airflow.refresh()
    airflow.emulator.change_settings(pace="seconds=36000")
    operator = TrifactaRunJobGroupOperator(task_id="run", wrangled_dataset_id=7, wait_for_completion=False)
    operator.execute({"ti": FakeTaskInstance()})
    airflow.clock.sleep(299)
    airflow.refresh()
    airflow.clock.sleep(10)
    operator.on_kill()
    answers = [entry.status for entry in airflow.emulator.calls("cancelJobGroup")]
    if airflow.kind == "comparing":
        assert answers == [401, 200]
    else:
        assert answers == [401]
        assert "cannot be read now: Airflow must not be called while it kills a task" in logged()


def test_the_token_for_on_kill_is_kept_fresh_by_the_polls(
    airflow: OAuthAirflow, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow.refresh()
    clock = KeptClock(airflow, 120)
    hook = TrifactaHook(clock=clock)
    for _ in range(50):
        hook.get_current_person()
        clock.sleep(30)
        assert airflow.emulator.oauth_access_token_works(hook.client._credential.detached().token())


# ----------------------------------------------------------------------------------------------------- in the form


def test_the_connection_test_never_refreshes(airflow: OAuthAirflow) -> None:
    hook = TrifactaHook(clock=KeptClock(airflow, None))
    ok, said = hook.test_connection()
    assert not ok
    assert "has not been used yet. Run the DAG with TrifactaRefreshOAuthTokenOperator once" in said
    airflow.refresh()
    ok, said = hook.test_connection()
    assert ok, said
    airflow.clock.sleep(1000)
    ok, said = hook.test_connection()
    assert not ok
    assert "TrifactaRefreshOAuthTokenOperator" in said
    if airflow.kind == "variable":
        airflow.variables.clear()
        ok, said = hook.test_connection()
        assert not ok
        assert f"Variable '{VARIABLE}' does not exist" in said
    assert refreshes(airflow) == 1


def test_the_expiry_is_that_of_the_refresh_token(airflow: OAuthAirflow, logged: Callable[[], str]) -> None:
    airflow.extra["oauth_refresh_token_days"] = 5
    airflow.paste(days=5)
    airflow.refresh()
    hook = TrifactaHook(clock=KeptClock(airflow, None))
    first = airflow.pair.first_used_at
    assert first is not None
    assert hook.get_token_expiry() == first + timedelta(days=5)
    hook.warn_before_token_expires()
    assert "The refresh token of connection 'trifacta_default' ends on" in logged()
    assert [entry.operation for entry in airflow.emulator.journal] == ["oauthToken"]


# ------------------------------------------------------------------------------------------------------ on demand


def test_on_demand_any_reader_refreshes(trifacta_oauth_emulator: Emulator) -> None:
    trifacta_oauth_emulator.change_settings(pace="at-once")
    operator = TrifactaRunJobGroupOperator(task_id="run", wrangled_dataset_id=7, deferrable=True)
    assert isinstance(run_deferred(operator, {"ti": FakeTaskInstance()}), int)
    assert len(trifacta_oauth_emulator.calls("oauthToken")) == 1


def test_on_demand_many_readers_refresh_once(trifacta_oauth_emulator: Emulator) -> None:
    def ask(_: int) -> str:
        return str(TrifactaHook().get_current_person()["email"])

    with ThreadPoolExecutor(20) as pool:
        assert set(pool.map(ask, range(20))) == {"emulator@example.com"}
    assert len(trifacta_oauth_emulator.calls("oauthToken")) == 1


def test_on_demand_a_lost_pair_is_reported(trifacta_oauth_emulator: Emulator) -> None:
    trifacta_oauth_emulator.disable_oauth_family(trifacta_oauth_emulator.stored_token)
    with pytest.raises(TrifactaOAuthPairLost):
        TrifactaHook().get_current_person()


# ---------------------------------------------------------------------------------------------------- in real time


def test_sixty_triggers_and_a_keeper_with_tokens_of_three_seconds(
    monkeypatch: pytest.MonkeyPatch, logged: Callable[[], str]
) -> None:
    """In real time, with the claim in a Variable: no wait fails, nothing is refused, the loop is not blocked."""
    seconds, waits = 8.0, 60
    with Emulator(enforce_quotas=False, pace=f"seconds={seconds}") as emulator:
        airflow = OAuthAirflow(emulator, "variable", monkeypatch)
        emulator.change_settings(oauth_access_seconds=3)
        monkeypatch.setitem(TrifactaHook.__init__.__kwdefaults__, "clock", SYSTEM_CLOCK)
        airflow.refresh()
        stop = threading.Event()
        results: list[Any] = []

        def keep() -> None:
            while not stop.is_set():
                results.append(airflow.refresh()["refreshed"])

        keeper = threading.Thread(target=keep)
        keeper.start()
        try:
            hook = TrifactaHook()
            runs = [hook.run_job_group(7)["id"] for _ in range(waits)]
            events, lag = asyncio.run(_wait_for(runs))
        finally:
            stop.set()
            keeper.join()
        assert [event["status"] for event in events] == ["Complete"] * waits
        assert results == [True] * len(results)
        assert len(results) >= 2
        assert {entry.status for entry in emulator.calls("oauthToken")} == {200}
        assert airflow.works
        assert lag < 3  # a blocked loop would stand still for most of the time; a busy machine does for some of it
        text = logged()
        for token in airflow.masked:
            assert token not in text


async def _wait_for(runs: list[Any]) -> tuple[list[Any], float]:
    """Wait for runs in one loop; return the events, and the longest time that the loop was blocked."""
    longest = 0.0
    ended = False

    async def watch() -> None:
        nonlocal longest
        while not ended:
            began = time.monotonic()
            await asyncio.sleep(0.02)
            longest = max(longest, time.monotonic() - began - 0.02)

    watching = asyncio.ensure_future(watch())
    triggers = [TrifactaJobGroupTrigger(job_group_id=run, poll_interval=1) for run in runs]
    events = await asyncio.gather(*(drain(trigger.run()) for trigger in triggers))
    ended = True
    await watching
    return [event.payload for (event,) in events], longest
