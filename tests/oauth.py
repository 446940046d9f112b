"""An OAuth connection as Airflow sees it: what keeps its pair, and keepers that die or are suspended."""

from __future__ import annotations

import contextlib
import json
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

from simulated_airflow import Killed, let_operators_run_in_this_thread
from support import EmulatorClock, FakeTaskInstance

from airflow_provider_trifacta import token_stores
from airflow_provider_trifacta.api.requests_transport import RequestsTransport
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.access_token import TrifactaRefreshOAuthTokenOperator
from airflow_provider_trifacta.tokens import oauth_connection, oauth_refresh
from airflow_provider_trifacta.tokens.oauth_pair import OAuthPair

VARIABLE = "trifacta_token"
T = 60.0


class Keeper:
    """One run of the task that refreshes; what others can see of it are its events.

    :param at: the number of the event, from 1, at which something happens to it.
    :param happens: what; it returns if the keeper goes on afterwards.
    """

    def __init__(self, name: str, at: int | None = None, happens: Callable[[str], None] | None = None) -> None:
        self.name = name
        self.events: list[str] = []
        self._at = at
        self._happens = happens

    def event(self, name: str) -> None:
        self.events.append(name)
        if len(self.events) == self._at and self._happens is not None:
            self._happens(name)


class ComparingStore:
    """A store as users write them, for pairs."""

    def __init__(self, connection: Any) -> None:
        self._airflow = OAuthAirflow.present

    def read(self) -> str:
        return self._airflow.read(VARIABLE) or ""

    def write(self, token: str) -> None:
        self._airflow.write(VARIABLE, token)

    def why_not_writable(self) -> str | None:
        return self._airflow.not_writable

    def compare_and_write(self, seen: str, token: str) -> bool:
        return self._airflow.write(VARIABLE, token, seen=seen)


class PlainStore:
    """A store for API access tokens, which cannot compare."""

    def __init__(self, connection: Any) -> None: ...

    def read(self) -> str:
        raise AssertionError("not read")

    def write(self, token: str) -> None:
        raise AssertionError("not written")

    def why_not_writable(self) -> str | None:
        return None


class OAuthAirflow:
    """What of Airflow a keeper and readers use.

    :param kind: ``variable`` or ``comparing``: what keeps the pair.
    """

    present: OAuthAirflow

    def __init__(self, emulator: Emulator, kind: str, monkeypatch: Any) -> None:
        self.emulator = emulator
        self.kind = kind
        self.clock = EmulatorClock(emulator)
        self.variables: dict[str, str] = {}
        self.masked: set[str] = set()
        self.not_writable: str | None = None
        self.failing: Callable[[str, str], None] | None = None
        self.lock = threading.Lock()
        self.keepers: list[Keeper] = []
        self.extra: dict[str, Any] = {
            "oauth_client_id": emulator.oauth_client_id,
            "oauth_token_url": emulator.oauth_token_url,
            **(
                {"token_variable": VARIABLE}
                if kind == "variable"
                else {"credential_store": f"{__name__}.ComparingStore"}
            ),
        }
        OAuthAirflow.present = self
        emulator.change_settings(oauth_only=True)
        variables = SimpleNamespace(set=lambda name, value: self.write(name, value))
        monkeypatch.setattr(token_stores, "Variable", variables)
        monkeypatch.setattr(token_stores, "read_variable", self.read)
        monkeypatch.setattr(token_stores, "tasks_use_the_database", lambda: False)
        monkeypatch.setattr(oauth_connection, "tasks_use_the_database", lambda: False)
        monkeypatch.setattr(token_stores, "why_written_variables_are_logged", lambda: self.not_writable)
        for module in (token_stores, oauth_connection, oauth_refresh):
            monkeypatch.setattr(module, "mask_secret", self.masked.add)
        monkeypatch.setattr(TrifactaHook, "get_connection", lambda _, conn_id: self.connection(conn_id))
        monkeypatch.setitem(TrifactaHook.__init__.__kwdefaults__, "clock", self.clock)
        transfer = RequestsTransport.transfer

        def watched(transport: Any, step: Any) -> Any:
            if step.request.form is None:
                return transfer(transport, step)
            assert step.request.form["refresh_token"] in self.masked
            self.event("before the refresh token is sent")
            answer = transfer(transport, step)
            self.event("after the refresh token is sent")
            return answer

        monkeypatch.setattr(RequestsTransport, "transfer", watched)
        self.paste()

    def connection(self, conn_id: str) -> Any:
        return SimpleNamespace(
            conn_id=conn_id,
            conn_type="trifacta",
            host=self.emulator.url,
            schema=None,
            port=None,
            login=None,
            password="this is never read",
            extra=json.dumps(self.extra),
        )

    def event(self, name: str) -> None:
        if self.keepers:
            self.keepers[-1].event(name)

    def read(self, name: str) -> str | None:
        self.event(f"before {name} is read")
        if self.failing is not None:
            self.failing("read", name)
        value = self.variables.get(name)
        self.event(f"after {name} is read")
        return value

    def write(self, name: str, value: str, *, seen: str | None = None) -> bool:
        self.event(f"before {name} is written")
        if self.failing is not None:
            self.failing("write", name)
        with self.lock:
            written = seen is None or self.variables.get(name) == seen
            if written:
                self.variables[name] = value
        self.event(f"after {name} is written")
        return written

    def paste(self, days: int = 365) -> str:
        """Generate a pair on the page, and paste the refresh token."""
        token: str = self.emulator.generate_oauth_pair(refresh_token_days=days).refresh_token
        self.variables[VARIABLE] = token
        return token

    @property
    def pair(self) -> OAuthPair:
        return OAuthPair.read(self.variables[VARIABLE])

    @property
    def works(self) -> bool:
        """Whether the stored refresh token works."""
        return self.emulator.oauth_refresh_token_works(self.pair.refresh_token)

    def refresh(self, keeper: Keeper | None = None, **arguments: Any) -> Any:
        """Run the operator, as a keeper of its own."""
        keeper = keeper or Keeper("another")
        let_operators_run_in_this_thread()
        ti = FakeTaskInstance()
        ti.dag_id, ti.task_id, ti.run_id = "keep", "refresh", keeper.name
        self.keepers.append(keeper)
        try:
            return TrifactaRefreshOAuthTokenOperator(task_id="refresh", **arguments).execute({"ti": ti})
        finally:
            self.keepers.remove(keeper)

    def refresh_killed_at(self, number: int, name: str = "killed") -> Keeper:
        """Run the operator, and kill its process at an event. Returns the keeper; it may have ended before."""

        def kill(event: str) -> None:
            raise Killed(event)

        keeper = Keeper(name, number, kill)
        with contextlib.suppress(Killed):
            self.refresh(keeper)
        return keeper


class KeptClock(EmulatorClock):
    """A clock that moves only when somebody sleeps, while a keeper refreshes every so many seconds.

    :param every: seconds between the ends of two runs of the keeper; None runs none.
    """

    def __init__(self, airflow: OAuthAirflow, every: float | None) -> None:
        super().__init__(airflow.emulator)
        self._airflow = airflow
        self.every = every
        self._due = self.now + (every or 0.0)
        self._refreshing = False

    def sleep(self, seconds: float) -> None:
        super().sleep(seconds)
        if self.every is not None and not self._refreshing and self.now >= self._due:
            self._refreshing = True
            self._airflow.refresh(Keeper("scheduled"))
            self._refreshing = False
            self._due = self.now + self.every
