"""Refreshing: whatever is killed or suspended, the stored pair works, or the error says what happened."""

from __future__ import annotations

import contextlib
import functools
import json
import threading
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from oauth import VARIABLE, Keeper, OAuthAirflow, T
from simulated_airflow import Killed

from airflow_provider_trifacta.exceptions import (
    TrifactaConfigurationError,
    TrifactaOAuthPairLost,
    TrifactaRefreshError,
    TrifactaRefreshRefused,
    TrifactaTokenUnreadable,
)
from airflow_provider_trifacta.operators.access_token import (
    TrifactaRefreshOAuthTokenOperator,
    TrifactaRotateApiAccessTokenOperator,
)

CLAIM = f"{VARIABLE}_refresh"


def sent(airflow: OAuthAirflow) -> int:
    return len(airflow.emulator.calls("oauthToken"))


# --------------------------------------------------------------------------------------------------- what it does


def test_a_pasted_refresh_token_becomes_a_pair(airflow: OAuthAirflow) -> None:
    airflow.extra["oauth_refresh_token_days"] = 100
    pasted = airflow.paste(days=100)
    returned = airflow.refresh()
    stored = json.loads(airflow.variables[VARIABLE])
    assert {"access_token", "refresh_token", "expires_at", "refreshed_at", "first_used_at"} == set(stored)
    assert airflow.works
    assert airflow.emulator.oauth_access_token_works(stored["access_token"])
    assert returned["refreshed"] is True
    assert returned["expires_at"] == stored["expires_at"]
    first = airflow.pair.first_used_at
    assert first is not None
    assert returned["refresh_token_ends_at"] == (first + timedelta(days=100)).isoformat()
    text = json.dumps(returned)
    for token in (pasted, stored["access_token"], stored["refresh_token"]):
        assert token in airflow.masked
        assert token not in text


def test_every_run_refreshes_and_the_first_use_stays(airflow: OAuthAirflow) -> None:
    seen = set()
    airflow.refresh()
    first = airflow.pair.first_used_at
    for _ in range(5):
        airflow.clock.sleep(120)
        assert airflow.refresh()["refreshed"] is True
        seen.add(airflow.pair.refresh_token)
    assert len(seen) == 5
    assert airflow.pair.first_used_at == first
    assert sent(airflow) == 6


@pytest.mark.parametrize("how", ["text", "missing"])
def test_a_lifetime_may_be_text_or_missing(airflow: OAuthAirflow, how: str) -> None:
    airflow.emulator.change_settings(oauth_expires_in=how)
    airflow.refresh()
    pair = airflow.pair
    assert pair.expires_at is not None
    assert pair.refreshed_at is not None
    assert pair.expires_at - pair.refreshed_at == timedelta(seconds=300)


def test_without_a_new_refresh_token_the_old_one_is_kept(airflow: OAuthAirflow) -> None:
    airflow.emulator.change_settings(oauth_returns_refresh_token=False)
    pasted = airflow.pair.refresh_token
    for _ in range(3):
        assert airflow.refresh()["refreshed"] is True
        assert airflow.pair.refresh_token == pasted
        airflow.clock.sleep(120)
    assert airflow.works


@pytest.mark.parametrize("pasted", ["  {}\n", '"{}"', '{{"refresh_token": "{}", "scope": "x"}}'], ids=str)
def test_how_a_refresh_token_may_be_pasted(airflow: OAuthAirflow, pasted: str) -> None:
    airflow.variables[VARIABLE] = pasted.format(airflow.paste())
    assert airflow.refresh()["refreshed"] is True
    assert airflow.works


@pytest.mark.parametrize(
    ("pasted", "said"),
    [
        ("", "is empty"),
        ("***", "holds asterisks"),
        ("Bearer eyJabc", "begins with 'Bearer'"),
        ("two words", "holds characters that no token has"),
        ("tok\u00e9n", "holds characters that no token has"),
        ('{"access_token": "eyJ"}', "holds JSON without a refresh_token"),
        ('{"refresh_token": 7}', "holds JSON without a refresh_token"),
    ],
    ids=str,
)
def test_what_cannot_be_a_refresh_token_is_named(airflow: OAuthAirflow, pasted: str, said: str) -> None:
    airflow.variables[VARIABLE] = pasted
    with pytest.raises(TrifactaConfigurationError, match="trifacta_default") as caught:
        airflow.refresh()
    assert said in str(caught.value)
    assert airflow.variables == {VARIABLE: pasted}
    assert sent(airflow) == 0


# --------------------------------------------------------------------------------------------- kills, suspensions


def _recovers_or_explains(airflow: OAuthAirflow, by: str) -> None:
    """Run keepers as the schedule does: the next ones refresh, or one says which refresh lost the pair."""
    for _ in range(3):
        airflow.clock.sleep(120)
        try:
            refreshed = airflow.refresh(Keeper("later"))["refreshed"]
        except TrifactaOAuthPairLost as error:
            assert f"by keep.refresh {by} was answered and never stored" in str(error), error  # noqa: PT017
            assert "Generate a new pair" in str(error)  # noqa: PT017
            airflow.paste()
        else:
            assert refreshed is True
            assert airflow.works
    assert airflow.works


def _events(airflow: OAuthAirflow) -> list[str]:
    keeper = Keeper("first")
    airflow.refresh(keeper)
    return keeper.events


def test_a_keeper_is_killed_at_every_event(airflow: OAuthAirflow) -> None:
    lost = []
    for number, name in enumerate(_events(airflow), start=1):
        airflow.clock.sleep(120)
        token = airflow.pair.refresh_token
        airflow.refresh_killed_at(number)
        if not airflow.works:
            lost.append(name)
        else:
            assert airflow.pair.refresh_token == token or "after" in name or VARIABLE in name or CLAIM in name
        _recovers_or_explains(airflow, "killed")
    # Nobody can prevent these: the answer is known to the killed process only.
    assert lost
    assert set(lost) <= {
        "after the refresh token is sent",
        f"before {VARIABLE} is read",
        f"after {VARIABLE} is read",
        f"before {VARIABLE} is written",
    }


def test_a_keeper_is_suspended_at_every_event_while_another_takes_over(airflow: OAuthAirflow) -> None:
    explained = []
    for number, name in enumerate(_events(airflow), start=1):
        airflow.clock.sleep(120)

        def suspended(event: str, name: str = name) -> None:
            airflow.clock.sleep(T + 5)
            for other in ("second", "third"):
                with contextlib.suppress(TrifactaOAuthPairLost):
                    airflow.refresh(Keeper(other))
                airflow.clock.sleep(120)

        try:
            airflow.refresh(Keeper("suspended", number, suspended))
        except TrifactaRefreshError as error:
            explained.append((name, str(error)))
        airflow.clock.sleep(120)
        if not airflow.works:
            with pytest.raises(TrifactaOAuthPairLost, match="Generate a new pair"):
                airflow.refresh(Keeper("later"))
            airflow.paste()
        _recovers_or_explains(airflow, "suspended")
    sent_late = [text for name, text in explained if name == "before the refresh token is sent"]
    assert any("was suspended for about" in text or "another task may take over" in text for text in sent_late)


def test_two_keepers_at_once_send_one_refresh_token_once(airflow: OAuthAirflow) -> None:
    """At every event of the first, a second one runs as far as it gets."""
    events = _events(airflow)
    for number in range(1, len(events) + 1):
        airflow.clock.sleep(120)
        results: list[Any] = []

        def meanwhile(event: str, results: list[Any] = results) -> None:
            # The second one watches a turn that is not its own for take_over_after: the first is not that slow,
            # so it is stopped when it has waited for half of that.
            slept = airflow.clock.now

            class Impatient(Exception):
                pass

            def stop(what: str) -> None:
                if airflow.clock.now - slept > T / 2:
                    raise Killed(what)

            second = Keeper("second")
            second.event = stop  # type: ignore[method-assign]
            with contextlib.suppress(Killed):
                results.append(airflow.refresh(second))

        before = sent(airflow)
        with contextlib.suppress(TrifactaRefreshError):
            results.append(airflow.refresh(Keeper("first", number, meanwhile)))
        assert airflow.works, events[number - 1]
        assert sent(airflow) - before <= 2
        airflow.clock.sleep(120)
        _recovers_or_explains(airflow, "nobody")


def test_a_keeper_is_suspended_at_every_event_while_another_is_under_way(airflow: OAuthAirflow) -> None:
    """The second one is suspended too, where it matters, until the first has ended or waited for half its time."""
    events = _events(airflow)
    points = [
        "before the refresh token is sent",
        "after the refresh token is sent",
        *([f"before {CLAIM} is written"] if airflow.kind == "variable" else []),
    ]
    for number in range(1, len(events) + 1):
        for point in points:
            airflow.clock.sleep(120)
            before = sent(airflow)
            second = SuspendedKeeper(airflow, point)
            first = Keeper("first", number, lambda _, second=second: second.run_until_suspended())
            first.event = functools.partial(_until_half_time, second, first.event)  # type: ignore[method-assign]
            with contextlib.suppress(TrifactaRefreshError):
                airflow.refresh(first)
            second.run_to_the_end()
            where = f"{events[number - 1]}, {point}"
            assert airflow.works, where
            statuses = [entry.status for entry in airflow.emulator.calls("oauthToken")[before:]]
            assert set(statuses) <= {200}, where
            # Nobody waits for a turn that nobody has.
            airflow.clock.sleep(120)
            began = airflow.clock.now
            assert airflow.refresh()["refreshed"] is True, where
            assert airflow.clock.now - began < 10, where


def _until_half_time(second: SuspendedKeeper, event: Callable[[str], None], name: str) -> None:
    event(name)
    if second.suspended_for > T / 2:
        second.run_to_the_end()


class SuspendedKeeper(Keeper):
    """A keeper in a thread of its own, suspended the first time it comes to an event or has waited for long."""

    def __init__(self, airflow: OAuthAirflow, at: str) -> None:
        super().__init__("second")
        self._airflow = airflow
        self._point = at
        self._stopped, self._go_on = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._since: float | None = None
        self._began = airflow.clock.now

    @property
    def suspended_for(self) -> float:
        return 0.0 if self._since is None else self._airflow.clock.now - self._since

    def _run(self) -> None:
        try:
            with contextlib.suppress(TrifactaRefreshError):
                self._airflow.refresh(self)
        finally:
            self._stopped.set()

    def event(self, name: str) -> None:
        super().event(name)
        waits = self._airflow.clock.now - self._began > T / 2  # for the first one, which is suspended now
        if (name == self._point or waits) and not self._stopped.is_set():
            self._airflow.keepers.remove(self)
            self._since = self._airflow.clock.now
            self._stopped.set()
            assert self._go_on.wait(30)
            self._airflow.keepers.append(self)

    def run_until_suspended(self) -> None:
        self._began = self._airflow.clock.now
        self._thread.start()
        assert self._stopped.wait(30)

    def run_to_the_end(self) -> None:
        self._since = None
        self._go_on.set()
        if self._thread.ident is not None:
            self._thread.join(30)


# ------------------------------------------------------------------------------------------------ lost answers


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 503},
        {"kind": "status", "status": 500},
        {"kind": "status", "status": 429},
        {"kind": "reset"},
        {"kind": "html", "status": 502},
    ],
    ids=str,
)
def test_a_refusal_that_may_pass_is_outlived(airflow: OAuthAirflow, fault: dict[str, Any]) -> None:
    airflow.emulator.order("oauthToken", times=2, **fault)
    assert airflow.refresh()["refreshed"] is True
    assert sent(airflow) == 3
    assert airflow.works


def test_a_refusal_that_does_not_pass_ends_the_run_and_the_next_one_goes_on(airflow: OAuthAirflow) -> None:
    airflow.emulator.order("oauthToken", "status", status=503, times=3)
    began = airflow.clock.now
    with pytest.raises(TrifactaRefreshError, match=r"did not answer with a pair.* 503 temporarily_unav") as caught:
        airflow.refresh()
    assert "Whether the refresh token was spent is not known" in str(caught.value)
    assert not isinstance(caught.value, TrifactaOAuthPairLost)
    assert airflow.emulator.oauth_token_url in str(caught.value)
    assert sent(airflow) == 3
    assert airflow.works
    assert airflow.pair.refreshing is None
    began = airflow.clock.now
    assert airflow.refresh()["refreshed"] is True
    assert airflow.clock.now - began < 10  # it does not wait for a turn that nobody has


def test_an_answer_that_was_lost_after_the_work_is_explained(airflow: OAuthAirflow) -> None:
    airflow.emulator.order("oauthToken", "reset", after=True)
    with pytest.raises(TrifactaOAuthPairLost) as caught:
        airflow.refresh(Keeper("unlucky"))
    assert "invalid_grant" in str(caught.value)
    assert "by keep.refresh unlucky" in str(caught.value)
    pasted = airflow.paste()
    assert airflow.refresh()["refreshed"] is True
    assert airflow.pair.refresh_token != pasted
    assert airflow.works


def test_a_refused_refresh_token_is_not_blamed_on_the_run_that_found_out(airflow: OAuthAirflow) -> None:
    airflow.refresh()
    airflow.emulator.disable_oauth_family(airflow.pair.refresh_token)
    for name in ("first", "second"):
        with pytest.raises(
            TrifactaOAuthPairLost, match=r"refused \(invalid_grant\)\. It was used before, "
        ) as caught:
            airflow.refresh(Keeper(name))
        assert "access token" not in str(caught.value)
        assert (airflow.pair.refreshing, airflow.pair.unresolved) == (None, None)


def test_an_access_token_that_was_pasted_is_named_as_a_cause(airflow: OAuthAirflow) -> None:
    airflow.variables[VARIABLE] = airflow.emulator.generate_oauth_pair().access_token
    with pytest.raises(TrifactaOAuthPairLost, match="is not a refresh token but an access token"):
        airflow.refresh()


@pytest.mark.parametrize(
    ("url", "fault"),
    [
        ("https://name.invalid/as/token", None),
        (None, {"kind": "reset"}),
        (None, {"kind": "html", "status": 200}),
        (None, {"kind": "html", "status": 502}),
    ],
    ids=str,
)
def test_no_answer_of_the_token_endpoint_is_blamed_on_the_base_url(
    airflow: OAuthAirflow, logged: Callable[[], str], url: str | None, fault: dict[str, Any] | None
) -> None:
    if url is not None:
        airflow.extra["oauth_token_url"] = url
    if fault is not None:
        airflow.emulator.order("oauthToken", times=3, **fault)
    with pytest.raises(TrifactaRefreshError, match="did not answer with a pair") as caught:
        airflow.refresh()
    text = logged()
    assert "base URL" not in text + str(caught.value)
    if url is not None or (fault is not None and fault["status" if "status" in fault else "kind"] == 200):
        assert "Check the token endpoint (extra oauth_token_url), and" in str(caught.value)
    # Once in the error, not in every warning before it.
    assert text.count("The same refresh token is sent again in 1.0 s. POST /as/token: ") == 2
    assert "Check the token endpoint" not in text


def test_a_refused_connection_spends_nothing(airflow: OAuthAirflow) -> None:
    with airflow.emulator.refusing_connections(), pytest.raises(TrifactaRefreshError, match="Nothing was spent"):
        airflow.refresh()
    assert airflow.pair.unresolved is None
    assert airflow.refresh()["refreshed"] is True


def test_a_person_pastes_while_it_is_sent(airflow: OAuthAirflow) -> None:
    pasted: list[str] = []

    def paste(event: str) -> None:
        pasted.append(airflow.paste())

    events = _events(airflow)
    airflow.clock.sleep(120)
    number = events.index("after the refresh token is sent") + 1
    result = airflow.refresh(Keeper("first", number, paste))
    assert result["refreshed"] is False
    assert airflow.variables[VARIABLE] == pasted[0]
    assert airflow.works


@pytest.mark.parametrize("what", ["write", "read"])
def test_a_store_that_fails_for_minutes_gets_the_pair_in_the_end(airflow: OAuthAirflow, what: str) -> None:
    until = [0.0]

    def fail(action: str, name: str) -> None:
        if airflow.clock.now < until[0] and action == what and name == VARIABLE:
            raise ConnectionError("no answer from Airflow")

    def begin(event: str) -> None:
        until[0] = airflow.clock.now + 600
        airflow.failing = fail

    number = _events(airflow).index("after the refresh token is sent") + 1
    airflow.clock.sleep(120)
    assert airflow.refresh(Keeper("first", number, begin))["refreshed"] is True
    assert airflow.works
    assert airflow.clock.now >= until[0]


def test_a_store_that_fails_for_good_loses_the_pair_and_says_so(airflow: OAuthAirflow) -> None:
    def fail(action: str, name: str) -> None:
        if action == "write":
            raise ConnectionError("no answer from Airflow")

    def begin(event: str) -> None:
        airflow.failing = fail

    number = _events(airflow).index("after the refresh token is sent") + 1
    airflow.clock.sleep(120)
    with pytest.raises(TrifactaOAuthPairLost, match="could not be stored for 15 minutes") as caught:
        airflow.refresh(Keeper("first", number, begin))
    assert "Nothing was spent" not in str(caught.value)


# --------------------------------------------------------------------------------------- nothing spent for nothing


def test_a_missing_or_unreadable_pair_is_left_alone(airflow: OAuthAirflow) -> None:
    if airflow.kind == "comparing":
        pytest.skip("the store of the test reads a missing string as empty")
    airflow.variables.clear()
    with pytest.raises(
        TrifactaTokenUnreadable, match=f"Variable '{VARIABLE}' does not exist, or could not be read"
    ):
        airflow.refresh()
    assert airflow.variables == {}
    assert sent(airflow) == 0


def test_a_store_that_cannot_be_written_spends_nothing(airflow: OAuthAirflow) -> None:
    airflow.not_writable = "it is read-only"
    with pytest.raises(TrifactaRefreshError, match="it is read-only"):
        airflow.refresh()
    assert sent(airflow) == 0
    assert airflow.works


def test_a_store_that_is_shadowed_spends_nothing(airflow: OAuthAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    pasted = airflow.variables[VARIABLE]
    read = airflow.read

    def shadowed(name: str) -> str | None:
        found = read(name)
        return pasted if name == VARIABLE else found

    monkeypatch.setattr("airflow_provider_trifacta.token_stores.read_variable", shadowed)
    monkeypatch.setattr(airflow, "read", shadowed)
    with pytest.raises(TrifactaRefreshError, match=r"takes precedence|refuses every write|reads what it writes"):
        airflow.refresh()
    assert sent(airflow) == 0


def test_a_slow_airflow_gives_up_before_anything_is_spent(airflow: OAuthAirflow) -> None:
    events = _events(airflow)
    airflow.clock.sleep(120)
    for number in range(1, events.index("before the refresh token is sent") + 1):
        before = sent(airflow)
        with contextlib.suppress(TrifactaRefreshError):
            airflow.refresh(Keeper("slow", number, lambda _: airflow.clock.sleep(T / 3)))
        assert airflow.works
        assert sent(airflow) - before <= 1
        airflow.clock.sleep(120)
    _recovers_or_explains(airflow, "nobody")


def test_a_claim_that_is_shadowed_ends_the_run(airflow: OAuthAirflow, monkeypatch: pytest.MonkeyPatch) -> None:
    if airflow.kind == "comparing":
        pytest.skip("it has no claim")
    read = airflow.read
    monkeypatch.setattr(
        "airflow_provider_trifacta.token_stores.read_variable",
        lambda name: "shadow" if name == CLAIM else read(name),
    )
    began = airflow.clock.now
    with pytest.raises(TrifactaRefreshError, match=f"the claim in Variable '{CLAIM}' is not what was written"):
        airflow.refresh()
    assert airflow.clock.now - began <= 120
    assert sent(airflow) == 0


def test_a_claim_that_cannot_be_read_is_not_taken(airflow: OAuthAirflow) -> None:
    if airflow.kind == "comparing":
        pytest.skip("it has no claim")

    def fail(action: str, name: str) -> None:
        if name == CLAIM:
            raise ConnectionError("no answer from Airflow")

    airflow.failing = fail
    with pytest.raises(TrifactaRefreshError, match=r"no answer from Airflow.* Nothing was spent"):
        airflow.refresh()
    assert sent(airflow) == 0


# --------------------------------------------------------------------------------------------- wrong connections


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"oauth_client_id": None}, "extra oauth_client_id: missing"),
        ({"oauth_token_url": None}, "extra oauth_token_url: missing"),
        ({"token_variable": None, "credential_store": None}, "extra token_variable: missing"),
        ({"oauth_client_id": "two words"}, "extra oauth_client_id: 'two words' is not a client id"),
        ({"oauth_token_url": "http://ping.example.com/as"}, "extra oauth_token_url: begins with http://"),
        ({"oauth_token_url": "https://a:b@ping.example.com/as"}, "extra oauth_token_url: not a plain URL"),
        ({"oauth_token_url": "ftp://ping.example.com"}, "extra oauth_token_url: scheme 'ftp' is not supported"),
        ({"oauth_token_url": 7}, "extra oauth_token_url: not a plain URL"),
        ({"oauth_refresh_token_days": 0}, "extra oauth_refresh_token_days: 0 is not between 1 and 365"),
        ({"oauth_refresh_token_days": 366}, "extra oauth_refresh_token_days: 366 is not between 1 and 365"),
        ({"oauth_refresh_on_demand": "perhaps"}, "extra oauth_refresh_on_demand: 'perhaps' is neither"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_wrong_connection_is_named_before_anything_is_sent(
    airflow: OAuthAirflow, change: dict[str, Any], said: str
) -> None:
    airflow.extra = {name: value for name, value in {**airflow.extra, **change}.items() if value is not None}
    with pytest.raises(TrifactaConfigurationError) as caught:
        airflow.refresh()
    assert f"Airflow connection 'trifacta_default': {said}" in str(caught.value)
    assert sent(airflow) == 0


def test_other_wrong_connections(airflow: OAuthAirflow) -> None:
    variable = {name: value for name, value in airflow.extra.items() if name != "credential_store"}
    airflow.extra = {**variable, "token_variable": VARIABLE, "oauth_refresh_on_demand": True}
    with pytest.raises(TrifactaConfigurationError, match="oauth_refresh_on_demand: needs a credential_store that"):
        airflow.refresh()
    plain = "oauth.PlainStore"
    airflow.extra = {**airflow.extra, "credential_store": plain, "oauth_refresh_on_demand": False}
    del airflow.extra["token_variable"]
    with pytest.raises(TrifactaConfigurationError, match="PlainStore has no compare_and_write"):
        airflow.refresh()
    assert sent(airflow) == 0


@pytest.mark.parametrize("ending", ["", "/", "/token", "/token/"])
def test_the_token_endpoint_with_or_without_its_end(airflow: OAuthAirflow, ending: str) -> None:
    airflow.extra["oauth_token_url"] = airflow.emulator.oauth_token_url.removesuffix("/token") + ending
    assert airflow.refresh()["refreshed"] is True


def test_an_unknown_client_names_the_field_and_spends_nothing(airflow: OAuthAirflow) -> None:
    airflow.extra["oauth_client_id"] = "another"
    with pytest.raises(TrifactaRefreshRefused, match=r"client id is not known .*Check the extra oauth_client_id"):
        airflow.refresh()
    assert airflow.works
    assert (airflow.pair.refreshing, airflow.pair.unresolved) == (None, None)


def test_a_url_that_is_no_token_endpoint_names_the_field(airflow: OAuthAirflow) -> None:
    airflow.extra["oauth_token_url"] = f"{airflow.emulator.url}/v4/people/current"
    with pytest.raises(TrifactaRefreshRefused, match="Check the extra oauth_token_url"):
        airflow.refresh()
    assert airflow.works


def test_an_expired_refresh_token(airflow: OAuthAirflow) -> None:
    airflow.paste(days=1)
    airflow.refresh()
    airflow.clock.sleep(2 * 86400)
    with pytest.raises(TrifactaOAuthPairLost) as caught:
        airflow.refresh()
    for part in (
        "trifacta_default",
        airflow.extra.get("token_variable", "ComparingStore"),
        "OAuth 2.0 API Tokens",
    ):
        assert part in str(caught.value)
    assert "was answered and never stored" not in str(caught.value)


def test_a_warning_before_the_refresh_token_ends(airflow: OAuthAirflow, logged: Callable[[], str]) -> None:
    airflow.extra["oauth_refresh_token_days"] = 10
    airflow.paste(days=10)
    airflow.refresh()
    assert "ends on" not in logged()
    airflow.clock.sleep(4 * 86400)
    airflow.refresh()
    assert "The refresh token of connection 'trifacta_default' ends on 2027-01-25" in logged()


def test_each_operator_names_the_other_for_the_wrong_kind_of_connection(airflow: OAuthAirflow) -> None:
    rotate = TrifactaRotateApiAccessTokenOperator(task_id="rotate", lifetime_seconds=86400)
    with pytest.raises(TrifactaConfigurationError, match="TrifactaRefreshOAuthTokenOperator"):
        rotate.execute({})
    airflow.extra = {}
    with pytest.raises(TrifactaConfigurationError, match="TrifactaRotateApiAccessTokenOperator"):
        airflow.refresh()


@pytest.mark.parametrize("value", [timedelta(seconds=9), timedelta(seconds=91), 60, None], ids=str)
def test_take_over_after_is_checked(value: Any) -> None:
    with pytest.raises(TrifactaConfigurationError, match=r"take_over_after: .* is not between 10 and 90 seconds"):
        TrifactaRefreshOAuthTokenOperator(task_id="refresh", take_over_after=value)


# ------------------------------------------------------------------------------------------------ hostile answers


def test_no_token_in_any_log_or_error(airflow: OAuthAirflow, logged: Callable[[], str]) -> None:
    airflow.emulator.order("oauthToken", "html", status=200)
    airflow.emulator.order("oauthToken", "status", status=503, call=2)
    airflow.refresh()
    airflow.emulator.disable_oauth_family(airflow.pair.refresh_token)
    with pytest.raises(TrifactaOAuthPairLost) as caught:
        airflow.refresh()
    text = logged() + str(caught.value) + repr(caught.value) + repr(airflow.pair)
    for token in [*airflow.masked, airflow.pair.refresh_token]:
        assert token not in text
