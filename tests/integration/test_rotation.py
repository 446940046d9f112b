"""Rotation: whatever is killed, at every instant the stored token works."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import re
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from simulated_airflow import Killed, Process, let_operators_run_in_this_thread
from support import EmulatorClock, SomeOf, sequences

from airflow_provider_trifacta import token_stores
from airflow_provider_trifacta.airflow_support.compat import AirflowSkipException
from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.exchange import Transfer
from airflow_provider_trifacta.emulator import Emulator, world
from airflow_provider_trifacta.emulator.clock import Clock
from airflow_provider_trifacta.exceptions import (
    TrifactaBadRequest,
    TrifactaConfigurationError,
    TrifactaFeatureDisabled,
    TrifactaRotationError,
    TrifactaTokenUnreadable,
    TrifactaUnauthorized,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.access_token import TrifactaRotateApiAccessTokenOperator
from airflow_provider_trifacta.tokens import rotation

WEEK = 7 * 86400


class OwnStore:
    """A store as users write them."""

    def __init__(self, connection: Any) -> None:
        self._airflow = Airflow.present

    def read(self) -> str:
        return self._airflow.kept["own"]

    def write(self, token: str) -> None:
        self._airflow.keep("own", token)

    def why_not_writable(self) -> str | None:
        return None


class Airflow:
    """What of Airflow keeps tokens: a connection, Variables, and somebody's own store."""

    present: Airflow

    def __init__(self, emulator: Emulator, kind: str) -> None:
        self.emulator = emulator
        self.clock = EmulatorClock(emulator)
        self.kind = kind
        self.extra = {
            "password": {},
            "variable": {"token_variable": "trifacta_token"},
            "own": {"credential_store": f"{__name__}.OwnStore"},
        }[kind]
        self._begin()

    def _begin(self) -> None:
        self._of_thread = threading.local()
        self.masked: set[str] = set()
        self.unreadable_until = 0.0
        first = self.emulator.add_token()
        self.kept = {"password": first, "own": first}
        Airflow.present = self

    def start_over(self) -> None:
        """Begin anew, hours later, with one token."""
        empty(self.emulator)
        self._begin()

    def keep(self, where: str, token: str) -> None:
        self.process.event("before it is stored")
        self.kept[where] = token
        self.process.event("after it is stored")

    def read_variable(self) -> str | None:
        if self.clock.now < self.unreadable_until:
            raise ConnectionError("no answer from Airflow's database")
        return self.kept.get("variable")

    @property
    def stored(self) -> str:
        return self.kept.get(self.kind, self.kept["password"])

    def connection(self, conn_id: str) -> Any:
        if conn_id == "airflow_api":
            return SimpleNamespace(
                conn_id=conn_id, host="http://airflow", schema=None, port=None, login=None, password="x"
            )
        return SimpleNamespace(
            conn_id=conn_id,
            conn_type="trifacta",
            host=self.emulator.url,
            schema=None,
            port=None,
            login=None,
            password=self.kept["password"],
            extra=json.dumps(self.extra),
        )

    def rotate(self, process: Process | None = None, **arguments: Any) -> Any:
        """Run the operator in a process of its own."""
        options = {"lifetime_seconds": WEEK, "airflow_api_conn_id": "airflow_api", **arguments}
        self.process = process or Process()
        let_operators_run_in_this_thread()
        return TrifactaRotateApiAccessTokenOperator(task_id="rotate", **options).execute({})

    @property
    def process(self) -> Process:
        return self._of_thread.process

    @process.setter
    def process(self, process: Process) -> None:
        self._of_thread.process = process


@pytest.fixture(scope="module")
def _server() -> Iterator[Emulator]:
    with Emulator(enforce_quotas=False, clock=Clock(lambda: 1.8e9)) as running:
        yield running


def empty(server: Emulator) -> None:
    server.clear_faults()
    server.state.tables["apiAccessTokens"].clear()
    server.clock.advance(7200)
    server.change_settings(opaque_tokens=False, endless_tokens=True, access_tokens_enabled=True)


@pytest.fixture
def emulator(_server: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    empty(_server)
    airflow_api = mock.Mock(why_not_changeable=mock.Mock(return_value=None))
    airflow_api.set_password = lambda conn_id, conn_type, token: Airflow.present.keep("password", token)
    monkeypatch.setattr("airflow_provider_trifacta.hooks.trifacta.AirflowApi", lambda connection: airflow_api)
    variables = mock.Mock()
    variables.set = lambda name, token: Airflow.present.keep("variable", token)
    monkeypatch.setattr(token_stores, "Variable", variables)
    monkeypatch.setattr(token_stores, "read_variable", lambda name: Airflow.present.read_variable())
    monkeypatch.setattr(token_stores, "tasks_use_the_database", lambda: False)
    monkeypatch.setattr(token_stores, "why_written_variables_are_logged", lambda: None)
    transfer = TrifactaClient._transfer

    def watched(client: Any, step: Transfer) -> Any:
        process, request = Airflow.present.process, step.request
        process.event(f"before {request.method} {request.path}")
        answer = transfer(client, step)
        process.event(f"after {request.method} {request.path}")
        # A process of its own knows nothing of the server's present state.
        if answer.status < 400 and not isinstance(process, _KillsItself):
            assert_works(Airflow.present)
        return answer

    monkeypatch.setattr(TrifactaClient, "_transfer", watched)
    monkeypatch.setattr(TrifactaHook, "get_connection", lambda _, conn_id: Airflow.present.connection(conn_id))
    monkeypatch.setattr(
        TrifactaRotateApiAccessTokenOperator,
        "_hook",
        lambda operator: TrifactaHook(operator.trifacta_conn_id, clock=Airflow.present.clock),
    )
    # Airflow's masker slows down with each of the thousands of tokens; and so a test can see what is masked.
    for module in (token_stores, rotation):
        monkeypatch.setattr(module, "mask_secret", lambda secret: Airflow.present.masked.add(secret))
    return _server


@pytest.fixture(params=["password", "variable", "own"])
def airflow(request: pytest.FixtureRequest, emulator: Emulator) -> Airflow:
    return Airflow(emulator, request.param)


def tokens(airflow: Airflow) -> list[dict[str, Any]]:
    return list(airflow.emulator.state.rows("apiAccessTokens"))


def token_ids(airflow: Airflow) -> list[str]:
    return [row["tokenId"] for row in tokens(airflow)]


def ours(airflow: Airflow) -> list[dict[str, Any]]:
    return [row for row in tokens(airflow) if "[airflow-provider-trifacta " in (row["description"] or "")]


def assert_works(airflow: Airflow) -> None:
    assert airflow.stored in {row["_value"] for row in tokens(airflow)}, "the stored token does not work"


def assert_tidy(airflow: Airflow) -> None:
    assert_works(airflow)
    assert len(ours(airflow)) <= 2


# -------------------------------------------------------------------------------------------------- what it does


def test_the_token_is_replaced_and_the_one_before_kept_for_a_while(airflow: Airflow) -> None:
    (first,) = token_ids(airflow)
    result = airflow.rotate(revoke_others=True, description="nightly")
    assert result["rotated"] is True
    assert result["previous_token_id"] == first
    assert result["revoked"] == []
    second = next(row for row in tokens(airflow) if row["_value"] == airflow.stored)
    assert (second["tokenId"], second["expiredAt"][:19]) == (result["token_id"], result["expires_at"][:19])
    assert second["description"].startswith("nightly [airflow-provider-trifacta ")
    airflow.clock.sleep(3000)
    idle = {"rotate_when_remaining": timedelta(days=1), "revoke_others": True}
    assert airflow.rotate(**idle)["revoked"] == []
    airflow.clock.sleep(700)
    assert airflow.rotate(**idle)["revoked"] == [first]
    assert token_ids(airflow) == [result["token_id"]]


def test_no_value_is_returned_and_each_is_masked_before_it_is_used(airflow: Airflow) -> None:
    first = airflow.stored
    used: list[str] = []

    class Watched(Process):
        def event(self, name: str) -> None:
            used.extend(row["_value"] for row in tokens(airflow) if row["lastUsed"])
            assert set(used) <= airflow.masked

    returned = json.dumps(airflow.rotate(Watched()))
    assert {first, airflow.stored} <= set(used)
    assert airflow.stored not in returned
    assert first not in returned


def test_what_a_person_made_is_left_alone(airflow: Airflow) -> None:
    airflow.emulator.add_token()
    before = token_ids(airflow)
    for _ in range(3):
        airflow.rotate(keep_previous_for=timedelta(0))
        airflow.clock.sleep(86400)
    assert set(before) < set(token_ids(airflow))
    assert len(ours(airflow)) == 1


@pytest.mark.parametrize("opaque", [False, True], ids=["named", "opaque"])
def test_never_more_than_two_of_ours(airflow: Airflow, opaque: bool) -> None:
    airflow.emulator.change_settings(opaque_tokens=opaque)
    for _ in range(5):
        airflow.rotate()
        assert_tidy(airflow)


def test_enough_life_left_is_nothing_to_do(airflow: Airflow) -> None:
    airflow.rotate()
    stored = airflow.stored
    idle = {"rotate_when_remaining": timedelta(days=2)}
    assert airflow.rotate(**idle)["rotated"] is False
    with pytest.raises(AirflowSkipException):
        airflow.rotate(skip_when_nothing_to_do=True, **idle)
    assert airflow.stored == stored
    airflow.clock.sleep(5.5 * 86400)
    assert airflow.rotate(**idle)["rotated"] is True


@pytest.mark.parametrize("step", ["after POST /v4/apiAccessTokens", "after it is stored"])
@pytest.mark.parametrize("quick", [True, False])
def test_what_a_killed_rotation_leaves_is_revoked(airflow: Airflow, step: str, quick: bool) -> None:
    airflow.rotate()
    with pytest.raises(Killed):
        airflow.rotate(_KilledAt(step))
    airflow.clock.sleep(1 if quick else 300)
    airflow.rotate()
    assert_tidy(airflow)
    assert len(ours(airflow)) == 2


class _KilledAt(Process):
    def __init__(self, step: str) -> None:
        super().__init__()
        self._step = step

    def event(self, name: str) -> None:
        if name == self._step:
            raise Killed(name)


# --------------------------------------------------------------------------- what was superseded, and when it goes

HOUR = timedelta(hours=1)
KEEPS = (timedelta(0), HOUR, 6 * HOUR)


class Expected:
    """Which tokens live when each goes at the first run after its own time, and at most two are ours."""

    def __init__(self, airflow: Airflow, *, revoke_others: bool) -> None:
        self._airflow = airflow
        self._revoke_others = revoke_others
        (self.stored,) = token_ids(airflow)
        #: The tokens that were superseded and live, with the moment from which they may go.
        self.kept: dict[str, datetime] = {}
        self._made_by_a_person = {self.stored}

    def rotate(self, keep: timedelta) -> None:
        before, began = self.stored, self._now()
        result = self._airflow.rotate(keep_previous_for=keep, revoke_others=self._revoke_others)
        assert (result["rotated"], result["previous_token_id"]) == (True, before)
        self.stored = result["token_id"]
        # Ours of before that one go at once.
        self.kept = {token: until for token, until in self.kept.items() if token in self._made_by_a_person}
        self.kept[before] = began + keep
        self._assert_lives(result)

    def find_nothing_to_do(self, keep: timedelta) -> None:
        result = self._airflow.rotate(
            keep_previous_for=keep, revoke_others=self._revoke_others, rotate_when_remaining=timedelta(minutes=1)
        )
        assert result["rotated"] is False
        self._assert_lives(result)

    def _assert_lives(self, result: dict[str, Any]) -> None:
        may_stay = set() if self._revoke_others else self._made_by_a_person
        self.kept = {
            token: until for token, until in self.kept.items() if until > self._now() or token in may_stay
        }
        assert_tidy(self._airflow)
        assert set(token_ids(self._airflow)) == {self.stored, *self.kept}
        assert not {self.stored, *self.kept} & set(result["revoked"])

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._airflow.clock.now, UTC)


@pytest.mark.parametrize("idle", [False, True], ids=["rotations", "with-idle-runs"])
@pytest.mark.parametrize("revoke_others", [False, True], ids=["not-others", "others"])
@pytest.mark.parametrize("last", [(), (HOUR,), (timedelta(0),)], ids=["three", "four", "four-at-once"])
def test_each_superseded_token_goes_when_its_own_time_is_over(
    emulator: Emulator, some_of: SomeOf, last: tuple[timedelta, ...], revoke_others: bool, idle: bool
) -> None:
    airflow = Airflow(emulator, "own")
    pauses = (0.2 * HOUR, 2 * HOUR, 7 * HOUR)
    # Pauses come first, since one in five of the pairs is tried.
    for pause, keeps in some_of(list(itertools.product(pauses, itertools.permutations(KEEPS)))):
        airflow.start_over()
        expected = Expected(airflow, revoke_others=revoke_others)
        for keep in (*keeps, *last):
            expected.rotate(keep)
            airflow.clock.sleep(pause.total_seconds())
            if idle:
                expected.find_nothing_to_do(HOUR)
        airflow.clock.sleep(7 * 3600)
        expected.find_nothing_to_do(HOUR)


def rotate_often(airflow: Airflow, times: int, **options: Any) -> list[str]:
    """Rotate an hour after the other, and return the ids of the tokens that were made."""
    made = []
    for _ in range(times):
        made.append(
            airflow.rotate(**{"revoke_others": True, "keep_previous_for": 6 * HOUR, **options})["token_id"]
        )
        airflow.clock.sleep(3600)
    return made


def find_nothing_to_do(airflow: Airflow, **options: Any) -> list[str]:
    """Run a rotation that finds plenty of life left, and return what it revoked."""
    result = airflow.rotate(**{"revoke_others": True, "rotate_when_remaining": HOUR, **options})
    assert result["rotated"] is False
    revoked: list[str] = result["revoked"]
    return revoked


def test_the_first_token_is_found_where_those_between_are_gone(airflow: Airflow) -> None:
    (first,) = token_ids(airflow)
    *between, stored = rotate_often(airflow, 3)
    for row in tokens(airflow):
        if row["tokenId"] in between:
            airflow.emulator.delete_token(row["_value"])
    assert set(token_ids(airflow)) == {first, stored}
    assert find_nothing_to_do(airflow) == []
    airflow.clock.sleep(3 * 3600)
    assert find_nothing_to_do(airflow, revoke_others=False) == []
    assert find_nothing_to_do(airflow) == [first]
    assert token_ids(airflow) == [stored]


def test_a_mark_of_before_is_understood(airflow: Airflow) -> None:
    """It says which token was superseded, not until when that is kept."""
    (first,) = token_ids(airflow)
    *_, second, third = rotate_often(airflow, 2)
    for row in ours(airflow):
        row["description"] = row["description"].split("]")[0] + "]"
    assert find_nothing_to_do(airflow, keep_previous_for=3 * HOUR) == []
    assert find_nothing_to_do(airflow, keep_previous_for=1.5 * HOUR) == [first]
    airflow.clock.sleep(3600)
    assert find_nothing_to_do(airflow, keep_previous_for=1.5 * HOUR) == [second]
    assert token_ids(airflow) == [third]


def test_what_versions_of_before_read_of_a_mark_is_as_it_was(airflow: Airflow) -> None:
    before = token_ids(airflow)
    for made in rotate_often(airflow, 4):
        for row in (row for row in tokens(airflow) if row["tokenId"] == made):
            found = re.search(r"\[airflow-provider-trifacta [0-9a-f]{16} after (\S+)\]", row["description"])
            assert found is not None
            assert found[1] == before[-1]
        before.append(made)


def test_what_another_connection_superseded_is_not_ours(emulator: Emulator) -> None:
    airflow = Airflow(emulator, "own")
    (first,) = token_ids(airflow)
    elsewhere = rotate_often(airflow, 2, trifacta_conn_id="elsewhere")
    airflow.kept["own"] = mine = emulator.add_token()
    rotate_often(airflow, 2)
    airflow.clock.sleep(10 * 3600)
    find_nothing_to_do(airflow)
    assert {first, *elsewhere} < set(token_ids(airflow))
    assert mine not in {row["_value"] for row in tokens(airflow)}


def test_a_persons_token_in_between_does_not_hide_the_first(airflow: Airflow) -> None:
    """Ours was used for longer than a rotation takes, so it was stored once."""
    (first,) = token_ids(airflow)
    (made,) = rotate_often(airflow, 1)
    find_nothing_to_do(airflow)
    airflow.kept[airflow.kind] = airflow.emulator.add_token()
    revoked = [airflow.rotate(revoke_others=True)["revoked"]]
    airflow.clock.sleep(6 * 3600)
    revoked.append(find_nothing_to_do(airflow))
    assert first in revoked[1]
    assert made in itertools.chain(*revoked)
    assert len(token_ids(airflow)) == 1


def test_a_token_that_was_never_stored_supersedes_nothing(airflow: Airflow) -> None:
    """A killed rotation's mark names the token that was stored, and that stays so until a person takes another."""
    (first,) = token_ids(airflow)
    with pytest.raises(Killed):
        airflow.rotate(_KilledAt("before it is stored"), keep_previous_for=timedelta(0), revoke_others=True)
    airflow.kept[airflow.kind] = airflow.emulator.add_token()
    airflow.clock.sleep(86400)
    rotate_often(airflow, 2, keep_previous_for=timedelta(0))
    assert first in token_ids(airflow)


def put_opaque_token(airflow: Airflow) -> None:
    """Do what a person does who stores a token, where values do not name their tokens."""
    row = world.add_token(airflow.emulator.state, world.PERSON, opaque=True)
    airflow.kept["password"] = airflow.kept[airflow.kind] = row["_value"]


def test_a_first_token_that_is_only_probable_is_never_revoked(airflow: Airflow) -> None:
    airflow.emulator.change_settings(opaque_tokens=True)
    put_opaque_token(airflow)  # beside another of the user
    before = set(token_ids(airflow))
    assert len(before) == 2
    rotate_often(airflow, 3, keep_previous_for=HOUR)
    airflow.emulator.change_settings(opaque_tokens=False)
    rotate_often(airflow, 2, keep_previous_for=HOUR)
    find_nothing_to_do(airflow)
    assert before < set(token_ids(airflow))


def test_the_first_token_goes_where_values_name_no_token(airflow: Airflow) -> None:
    airflow.emulator.change_settings(opaque_tokens=True)
    airflow.emulator.delete_token(airflow.stored)
    put_opaque_token(airflow)
    (first,) = token_ids(airflow)
    rotate_often(airflow, 4, keep_previous_for=2 * HOUR)
    assert first not in token_ids(airflow)
    assert_tidy(airflow)


def test_a_kill_between_any_two_steps_forgets_no_token(emulator: Emulator) -> None:
    airflow = Airflow(emulator, "own")
    rotate_often(airflow, 1)
    airflow.rotate(process := Process())
    for number in range(1, len(process.events) + 1):
        airflow.start_over()
        (first,) = token_ids(airflow)
        rotate_often(airflow, 1)
        with contextlib.suppress(Killed):
            airflow.rotate(Process(kill_at=number), revoke_others=True)
        airflow.clock.sleep(3600)
        rotate_often(airflow, 2)
        assert first in token_ids(airflow)
        airflow.clock.sleep(4 * 3600)
        assert first in find_nothing_to_do(airflow)


def test_descriptions_do_not_grow_without_end(airflow: Airflow) -> None:
    """Each time, a person puts a token of their own in the place of ours."""
    for _ in range(12):
        rotate_often(airflow, 2, revoke_others=False)
        token = airflow.emulator.add_token()
        airflow.kept[airflow.kind] = token
    assert max(len(row["description"]) for row in ours(airflow)) <= 255


# ---------------------------------------------------------------------------------------------- what goes wrong


def test_a_store_that_cannot_be_written_is_found_out_first(airflow: Airflow) -> None:
    if airflow.kind != "password":
        pytest.skip("about the password")
    before = token_ids(airflow)
    with pytest.raises(TrifactaRotationError, match=r"airflow_api_conn_id.*token_variable.*credential_store"):
        airflow.rotate(airflow_api_conn_id=None)
    assert token_ids(airflow) == before


def test_an_environment_variable_in_the_way(airflow: Airflow, monkeypatch: pytest.MonkeyPatch) -> None:
    if airflow.kind == "own":
        pytest.skip("knows no environment")
    monkeypatch.setenv("AIRFLOW_VAR_TRIFACTA_TOKEN", "x")
    monkeypatch.setenv("AIRFLOW_CONN_TRIFACTA_DEFAULT", "{}")
    before = token_ids(airflow)
    with pytest.raises(TrifactaRotationError, match="environment variable AIRFLOW_"):
        airflow.rotate()
    assert token_ids(airflow) == before


def test_a_variable_that_airflow_would_show(emulator: Emulator) -> None:
    airflow = Airflow(emulator, "variable")
    airflow.extra = {"token_variable": "trifacta"}
    with pytest.raises(TrifactaConfigurationError, match="contains 'token' or 'secret'"):
        airflow.rotate()


def test_access_tokens_switched_off(airflow: Airflow) -> None:
    airflow.emulator.change_settings(access_tokens_enabled=False)
    with pytest.raises(TrifactaFeatureDisabled, match="an administrator has to enable them"):
        airflow.rotate()


def test_an_installation_that_refuses_endless_tokens(airflow: Airflow) -> None:
    airflow.emulator.change_settings(endless_tokens=False)
    before = token_ids(airflow)
    with pytest.raises(TrifactaBadRequest, match="without an end are not allowed"):
        airflow.rotate(lifetime_seconds=-1)
    assert token_ids(airflow) == before


@pytest.mark.parametrize(
    ("arguments", "names"),
    [
        ({"lifetime_seconds": 0}, "lifetime_seconds"),
        ({"lifetime_seconds": -2}, "lifetime_seconds"),
        ({"lifetime_seconds": True}, "lifetime_seconds"),
        ({"lifetime_seconds": 3600}, "keep_previous_for"),
        ({"lifetime_seconds": 7200, "rotate_when_remaining": timedelta(hours=3)}, "rotate_when_remaining"),
        ({"lifetime_seconds": 7200, "keep_previous_for": 60}, "keep_previous_for"),
        ({"lifetime_seconds": 7200, "keep_previous_for": timedelta(seconds=-1)}, "keep_previous_for"),
    ],
)
def test_bad_arguments_are_refused_when_the_dag_is_parsed(arguments: dict[str, Any], names: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match=names):
        TrifactaRotateApiAccessTokenOperator(task_id="rotate", **arguments)


def test_arguments_are_templated() -> None:
    operator = TrifactaRotateApiAccessTokenOperator(
        task_id="rotate", lifetime_seconds="{{ days * 86400 }}", trifacta_conn_id="{{ conn }}"
    )
    operator.render_template_fields({"days": 7, "conn": "mine"})  # type: ignore[typeddict-item]
    assert (operator._lifetime(), operator.trifacta_conn_id) == (WEEK, "mine")


def test_a_rotation_that_is_too_slow_gives_up(airflow: Airflow) -> None:
    before = token_ids(airflow)

    class Slow(Process):
        def event(self, name: str) -> None:
            if name == "after POST /v4/apiAccessTokens":
                airflow.clock.sleep(70)

    with pytest.raises(TrifactaRotationError, match="took longer than 60 s"):
        airflow.rotate(Slow())
    assert token_ids(airflow) == before


@pytest.mark.parametrize("missing", ["tokenValue", "tokenInfo"])
def test_a_creation_without_value_or_id(airflow: Airflow, missing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    stored = airflow.stored
    shown = world.add_token

    def without(state: Any, person: int, **options: Any) -> Any:
        row = shown(state, person, **options)
        # What the answer shows of a token; the emulator leaves out what begins with an underscore.
        return {**row, "_value": "", "tokenId": row["tokenId"] if missing == "tokenValue" else ""}

    monkeypatch.setattr(world, "add_token", without)
    with pytest.raises(TrifactaRotationError, match="no usable value or id"):
        airflow.rotate()
    assert airflow.stored == stored
    assert_works(airflow)


def test_a_stored_token_that_does_not_work(airflow: Airflow) -> None:
    airflow.emulator.delete_token(airflow.stored)
    with pytest.raises(TrifactaUnauthorized):
        airflow.rotate()


# ---------------------------------------------------------------------------------------------------------- chaos


def test_a_kill_between_any_two_steps(airflow: Airflow) -> None:
    airflow.rotate()
    process = Process()
    airflow.rotate(process, keep_previous_for=timedelta(0))
    for number, keep in [(n, k) for n in range(1, len(process.events) + 1) for k in (0, 3600)]:
        airflow.start_over()
        stranger = airflow.emulator.add_token()
        airflow.rotate()
        options = {"keep_previous_for": timedelta(seconds=keep)}
        with contextlib.suppress(Killed):  # fewer steps when the token before is kept
            airflow.rotate(Process(kill_at=number), **options)
        assert_works(airflow)
        airflow.rotate(**options)
        assert_tidy(airflow)
        assert stranger in {row["_value"] for row in tokens(airflow)}


@pytest.mark.parametrize("idle", [False, True], ids=["both-rotate", "other-has-nothing-to-do"])
@pytest.mark.parametrize("keep", [0, 3600])
def test_two_rotations_at_once(airflow: Airflow, some_of: SomeOf, idle: bool, keep: int) -> None:
    """The other one runs from its beginning to its end between two steps of this one."""
    options: dict[str, Any] = {"keep_previous_for": timedelta(seconds=keep)}
    other = {**options, "rotate_when_remaining": timedelta(days=1) if idle else None}
    airflow.rotate()
    process = Process()
    airflow.rotate(process, **options)
    for number in some_of(range(1, len(process.events) + 1)):
        airflow.start_over()
        stranger = airflow.emulator.add_token()
        airflow.rotate()
        airflow.clock.sleep(10)
        interrupted = _Interrupted(airflow, None, number, other)
        failure = _failure_of(airflow, interrupted, options)
        assert failure is None or "was not stored; the previous token" in str(failure)
        assert_works(airflow)
        airflow.clock.sleep(300)
        airflow.rotate(**options)
        assert_tidy(airflow)
        assert stranger in {row["_value"] for row in tokens(airflow)}


@pytest.mark.parametrize("rotated_before", [True, False])
def test_a_token_that_is_being_stored_is_not_revoked(airflow: Airflow, rotated_before: bool) -> None:
    """The other one comes in the moment in which this one's token is on its way to the store."""
    if rotated_before:
        airflow.rotate()
    going_on, done = threading.Event(), threading.Event()
    sleep = airflow.clock.sleep

    def sleep_while_the_first_goes_on(seconds: float) -> None:
        if threading.current_thread() is not threading.main_thread():
            going_on.set()
            assert done.wait(10)
        sleep(seconds)

    class Interrupted(Process):
        def event(self, name: str) -> None:
            if name == "before it is stored" and not going_on.is_set():
                airflow.clock.sleep = sleep_while_the_first_goes_on  # type: ignore[method-assign]
                self.other = other.submit(airflow.rotate)
                self.other.add_done_callback(lambda _: going_on.set())
                assert going_on.wait(10)

    with ThreadPoolExecutor(1) as other:
        airflow.rotate(process := Interrupted())
        done.set()
        process.other.result()
    assert_tidy(airflow)


class _Unreadable(Process):
    """From one event on, the Variable cannot be read for a while."""

    def __init__(self, airflow: Airflow, at: int, lasts: float) -> None:
        super().__init__()
        self._airflow = airflow
        self._at = at
        self._lasts = lasts

    def event(self, name: str) -> None:
        super().event(name)
        if len(self.events) == self._at:
            self._airflow.unreadable_until = self._airflow.clock.now + self._lasts


@pytest.mark.parametrize("lasts", [20, 4000])
def test_a_variable_that_cannot_be_read_between_any_two_steps(emulator: Emulator, lasts: float) -> None:
    options = {"keep_previous_for": timedelta(0)}
    airflow = Airflow(emulator, "variable")
    airflow.rotate()
    airflow.rotate(process := Process(), **options)
    failures = 0
    for number in range(1, len(process.events) + 1):
        airflow.start_over()
        stranger = airflow.emulator.add_token()
        airflow.rotate()
        failure = _failure_of(airflow, _Unreadable(airflow, number, lasts), options)
        failures += failure is not None
        assert failure is None or isinstance(failure, TrifactaTokenUnreadable)
        assert_works(airflow)
        airflow.clock.sleep(4000)
        airflow.rotate(**options)
        assert_tidy(airflow)
        assert stranger in {row["_value"] for row in tokens(airflow)}
    assert (failures > 0) == (lasts > 900)


class _Kept(dict[str, str]):
    """What is kept, in a file: it outlives the process that wrote it."""

    def __init__(self, file: Path, kept: dict[str, str]) -> None:
        super().__init__(kept)
        self._file = file
        self._save()

    def load(self) -> None:
        self.update(json.loads(self._file.read_text()))

    def __setitem__(self, where: str, token: str) -> None:
        super().__setitem__(where, token)
        self._save()

    def _save(self) -> None:
        self._file.write_text(json.dumps(self))


class _KillsItself(Process):
    def __init__(self, kill_at: int) -> None:
        super().__init__()
        self._kill_itself_at = kill_at

    def event(self, name: str) -> None:
        super().event(name)
        if len(self.events) == self._kill_itself_at:
            os.kill(os.getpid(), signal.SIGKILL)


def test_kill_9_at_any_point(airflow: Airflow, tmp_path: Path) -> None:
    airflow.rotate()
    process = Process()
    airflow.rotate(process, keep_previous_for=timedelta(0))
    for number in range(1, len(process.events) + 1):
        airflow.start_over()
        airflow.rotate()
        airflow.kept = kept = _Kept(tmp_path / "kept.json", airflow.kept)
        child = os.fork()
        if child == 0:
            try:
                airflow.rotate(_KillsItself(number), keep_previous_for=timedelta(0))
            finally:
                os._exit(1)
        assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
        kept.load()
        assert_works(airflow)
        airflow.rotate(keep_previous_for=timedelta(0))
        assert_tidy(airflow)


FAULTS = [
    {"kind": "reset"},
    {"kind": "reset", "after": True},
    {"kind": "cut"},
    {"kind": "status", "status": 503},
    {"kind": "status", "status": 500, "after": True},
    {"kind": "html", "status": 200},
    {"kind": "rate_limit"},
]


def test_chaos(emulator: Emulator, capsys: pytest.CaptureFixture[str]) -> None:
    """Random lives of a token: kills, faults, rotations at once, and time that passes."""
    number, seed = sequences()
    with capsys.disabled():
        print(f"\n{number} lives, SEQUENCES_SEED={seed}")
    chance = random.Random(seed)
    for _ in range(number):
        empty(emulator)
        emulator.change_settings(opaque_tokens=chance.random() < 0.3)
        airflow = Airflow(emulator, chance.choice(["password", "variable", "own"]))
        strangers = {emulator.add_token() for _ in range(chance.randrange(3))}
        options = {
            "keep_previous_for": timedelta(seconds=chance.choice([0, 3600])),
            "lifetime_seconds": 90 * 86400,
            # Always; when it ends soon; never, since there is plenty of life.
            "rotate_when_remaining": chance.choice([None, timedelta(days=89), timedelta(days=1)]),
            "revoke_others": chance.random() < 0.5,
        }
        for _ in range(chance.randrange(1, 5)):
            airflow.clock.sleep(chance.choice([0.5, 30, 200, 6 * 86400]))
            if chance.random() < 0.4:
                emulator.order("*", call=chance.randrange(1, 12), **chance.choice(FAULTS))
            process = _Interrupted(
                airflow,
                kill_at=chance.choice([None, chance.randrange(1, 24)]),
                meanwhile_at=chance.choice([None, None, chance.randrange(1, 24)]),
                options=options,
            )
            failure = _failure_of(airflow, process, options)
            assert failure is None or emulator.app.faults.all() or process.met_another, failure
            assert_works(airflow)
        emulator.clear_faults()
        airflow.clock.sleep(chance.choice([0.5, 200]))
        airflow.rotate(keep_previous_for=options["keep_previous_for"])
        assert_tidy(airflow)
        assert strangers <= {row["_value"] for row in tokens(airflow)}


def _failure_of(airflow: Airflow, process: Process, options: dict[str, Any]) -> Exception | None:
    try:
        airflow.rotate(process, **options)
    except Killed:
        pass
    except Exception as error:
        return error
    return None


class _Interrupted(Process):
    """Killed at one event; at another, a second rotation runs from its beginning to its end."""

    def __init__(
        self, airflow: Airflow, kill_at: int | None, meanwhile_at: int | None, options: dict[str, Any]
    ) -> None:
        super().__init__(kill_at)
        self._airflow = airflow
        self._meanwhile_at = meanwhile_at
        self._options = options
        self.met_another = False

    def event(self, name: str) -> None:
        super().event(name)
        if len(self.events) == self._meanwhile_at:
            self._meanwhile_at = None
            if name == "before it is stored":
                return  # a process that stands still for minutes right here is beyond what can be guarded against
            self.met_another = True
            with ThreadPoolExecutor(1) as elsewhere:
                failure = elsewhere.submit(self._airflow.rotate, **self._options).exception()
            assert failure is None or self._airflow.emulator.app.faults.all(), failure
            assert_works(self._airflow)


@pytest.mark.parametrize(
    ("extra", "says"),
    [
        ({"credential_store": "nowhere.Store"}, "'nowhere.Store' cannot be imported"),
        ({"credential_store": "json.Store"}, "'json.Store' cannot be imported"),
        ({"credential_store": "Store"}, "'Store' cannot be imported"),
        ({"credential_store": "builtins.str"}, "has no read, write, why_not_writable"),
        ({"credential_store": "builtins.classmethod.mro"}, "cannot be imported"),
        ({"credential_store": "a.B", "token_variable": "token"}, "are both set"),
        ({"token_variable": "***"}, "asterisks are Airflow's mask"),
    ],
)
def test_a_store_that_cannot_be_used_is_named(emulator: Emulator, extra: dict[str, str], says: str) -> None:
    airflow = Airflow(emulator, "own")
    airflow.extra = extra
    with pytest.raises(TrifactaConfigurationError, match=says) as caught:
        airflow.rotate()
    assert "'trifacta_default'" in str(caught.value)
