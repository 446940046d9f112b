"""What a person reads when a task fails. The page docs/failures.md shows these texts, and cannot differ from them.

``UPDATE_DOCS=1 pytest tests/integration/test_failures.py`` writes the page anew after a change of a text.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import re
import ssl
import textwrap
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from oauth import VARIABLE, Keeper, KeptClock, OAuthAirflow, T
from support import FakeTaskInstance, RawServer, run_deferred, self_signed_certificate

from airflow_provider_trifacta import token_stores
from airflow_provider_trifacta.airflow_support.compat import AirflowFailException
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.exceptions import TrifactaError
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.access_token import (
    TrifactaRefreshOAuthTokenOperator,
    TrifactaRotateApiAccessTokenOperator,
)
from airflow_provider_trifacta.operators.flow import (
    TrifactaCopyFlowOperator,
    TrifactaDeleteFlowOperator,
    TrifactaRunFlowOperator,
)
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.operators.plan import TrifactaRunPlanOperator
from airflow_provider_trifacta.sensors.plan import TrifactaPlanRunSensor

PAGE = Path(__file__).parents[2] / "docs" / "failures.md"
#: All that follows it is written by this file.
BEGIN = "<!-- written by tests/integration/test_failures.py -->"


@dataclass(frozen=True)
class World:
    """What a case can arrange.

    :param connect: points the Airflow connection at a server, with further extras.
    """

    emulator: Emulator
    connect: Callable[..., None]
    folder: Path

    def run(self, **arguments: Any) -> Any:
        """Run a recipe without any patience."""
        return self._run(TrifactaRunJobGroupOperator, {"wrangled_dataset_id": 7, **arguments})

    def run_flow(self, **arguments: Any) -> Any:
        """Run a flow without any patience."""
        return self._run(TrifactaRunFlowOperator, arguments)

    def run_plan(self, **arguments: Any) -> Any:
        """Run a plan without any patience."""
        return self._run(TrifactaRunPlanOperator, arguments)

    def _run(self, operator: Callable[..., Any], arguments: dict[str, Any]) -> Any:
        defaults = {"task_id": "task", "poll_interval": 0.05, "retry_budget": 0}
        return run_deferred(operator(**{**defaults, **arguments}), {"ti": FakeTaskInstance()})

    @contextlib.contextmanager
    def canceled_by_somebody(self, polled: str) -> Iterator[None]:
        """Cancel the only job group, once it is polled.

        :param polled: the operation that polls.
        """

        def cancel() -> None:
            while not self.emulator.calls(polled):
                pass
            self.emulator.app.runs.cancel(next(self.emulator.state.rows("jobGroups")), 17)

        self.emulator.change_settings(pace="polls=2")
        thread = threading.Thread(target=cancel)
        thread.start()
        try:
            yield
        finally:
            thread.join()


Case = Callable[[World], Any]
CASES: dict[str, Case] = {}


def case(title: str) -> Callable[[Case], Case]:
    def register(function: Case) -> Case:
        CASES[title] = function
        return function

    return register


@case("The server refuses the request (400)")
def _bad_request(world: World) -> Any:
    return world.run(overrides={"profiler": "sometimes"})


@case("The token has expired or was revoked (401)")
def _unauthorized(world: World) -> Any:
    world.emulator.delete_token(world.emulator.token)
    return world.run()


@case("The token is one of Alteryx One (401)")
def _alteryx_one(world: World) -> Any:
    world.connect(world.emulator, token="eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJtZSJ9.c2lnbmF0dXJl")
    return world.run()


@case("The user may not do this (403)")
def _forbidden(world: World) -> Any:
    world.emulator.order("runJobGroup", "status", status=403)
    return world.run()


@case("There is no such recipe (404)")
def _no_such_recipe(world: World) -> Any:
    return world.run(wrangled_dataset_id=4712)


@case("The base URL does not lead to the API (404)")
def _no_such_route(world: World) -> Any:
    world.connect(f"{world.emulator.url}/v4", token=world.emulator.token)
    return world.run()


@case("API access tokens are switched off (404)")
def _feature_off(world: World) -> Any:
    world.emulator.change_settings(access_tokens_enabled=False)
    world.connect(world.emulator, token_variable="trifacta_token", retry_budget=0)
    operator = TrifactaRotateApiAccessTokenOperator(task_id="rotate", lifetime_seconds=86400)
    with (
        mock.patch.object(token_stores, "read_variable", return_value=None),
        mock.patch.object(token_stores, "why_written_variables_are_logged", return_value=None),
    ):
        return operator.execute({"ti": FakeTaskInstance()})


@case("The recipe was deleted (410)")
def _gone(world: World) -> Any:
    world.emulator.order("runJobGroup", "status", status=410)
    return world.run()


@case("The quota is used up for longer than the retry budget (429)")
def _rate_limited(world: World) -> Any:
    world.emulator.order("runJobGroup", "rate_limit", call=None)
    return world.run()


@case("The quota is used up until the execution_timeout of a deferrable task")
def _no_slot_in_time(world: World) -> Any:
    world.emulator.order("runJobGroup", "rate_limit", call=None)
    began = datetime.now(UTC) - timedelta(hours=2)
    operator = TrifactaRunJobGroupOperator(
        task_id="task", wrangled_dataset_id=7, deferrable=True, execution_timeout=timedelta(hours=2)
    )
    return run_deferred(operator, {"ti": FakeTaskInstance(began)})


@case("The server fails while the task waits (500)")
def _server_error(world: World) -> Any:
    world.emulator.order("getJobGroupStatus", "status", status=500, call=None)
    return world.run()


@case("The server fails while the task submits (500)")
def _server_error_at_submit(world: World) -> Any:
    world.emulator.order("runJobGroup", "status", status=500, call=None)
    world.emulator.order("listJobLibrary", "status", status=500, call=None)
    return world.run()


@case("A proxy answers instead of the server")
def _html(world: World) -> Any:
    world.emulator.order("getJobGroupStatus", "html", status=200, call=None)
    return world.run()


@case("The server does not answer in time")
def _timeout(world: World) -> Any:
    world.connect(world.emulator, read_timeout=0.3)
    world.emulator.order("getJobGroupStatus", "delay", seconds=1, call=None)
    return world.run()


@case("The server's certificate is not trusted")
def _tls(world: World) -> Any:
    with _self_signed(world.folder) as url:
        world.connect(url, token="eyJtoken")
        return world.run()


@case("The server speaks plain http, and the host has no scheme")
def _plain_http(world: World) -> Any:
    world.connect(world.emulator.url.removeprefix("http://"), token="eyJtoken")
    return world.run(retry_budget=None)


@case("The host does not exist")
def _dns(world: World) -> Any:
    world.connect("https://trifacta.invalid", token="eyJtoken")
    return world.run()


@case("Nobody listens there")
def _refused(world: World) -> Any:
    world.connect("http://127.0.0.1:9", token="eyJtoken")
    return world.run()


@case("The server redirects to another address")
def _redirect(world: World) -> Any:
    def elsewhere(connection: Any, _: bytes) -> None:
        connection.sendall(
            b"HTTP/1.1 302 Found\r\nlocation: https://login.example.com/sso?from=/v4\r\ncontent-length: 0\r\n\r\n"
        )

    server = RawServer(elsewhere)
    try:
        world.connect(server.url, token="eyJtoken")
        return world.run()
    finally:
        server.stop()


@case("An answer does not end")
def _endless(world: World) -> Any:
    def endless(connection: Any, request: bytes) -> None:
        if b"/status" not in request:
            connection.sendall(b'HTTP/1.1 201 Created\r\ncontent-length: 11\r\n\r\n{"id":1018}')
            return
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")

    server = RawServer(endless)
    try:
        world.connect(server.url, token="eyJtoken", retry_budget=0)
        return world.run()
    finally:
        server.stop()


@case("A setting of the connection cannot be used")
def _setting(world: World) -> Any:
    world.connect(world.emulator, ca_bundle="/etc/ssl/certs")
    return world.run()


@case("The Variable with the token cannot be read")
def _unreadable_variable(world: World) -> Any:
    def unreadable(name: str) -> None:
        raise ConnectionError("the API server of Airflow gives no answer")

    world.connect(world.emulator, token_variable="trifacta_token")
    with mock.patch.object(token_stores, "read_variable", unreadable):
        return world.run()


@case("It is not certain that a job group is the one that was started")
def _doubt(world: World) -> Any:
    world.emulator.change_settings(source_word="rest")
    world.emulator.order("runJobGroup", "reset", after=True)
    return world.run()


@case("A result is not what was requested")
def _odd_result(world: World) -> Any:
    world.emulator.order("getJobGroupPdfResults", "status", status=200, call=None)
    world.connect(world.emulator, retry_budget=0)
    return world.run(overrides={"profiler": True}, profile_pdf_path=str(world.folder / "profile.pdf"))


@case("The recipe fails")
def _failed_wrangle(world: World) -> Any:
    return world.run(wrangled_dataset_id=8)


@case("Writing the result fails")
def _failed_publish(world: World) -> Any:
    return world.run(wrangled_dataset_id=10)


@case("Somebody cancels the job group")
def _canceled(world: World) -> Any:
    with world.canceled_by_somebody("getJobGroupStatus"):
        return world.run(wrangled_dataset_id=9)


@case("The task is killed while it starts")
def _killed(world: World) -> Any:
    world.emulator.order("runJobGroup", "delay", seconds=0.3, after=True)
    operator = TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=9)

    def kill() -> None:
        while not world.emulator.job_groups:
            pass
        operator.on_kill()

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        return operator.execute({"ti": FakeTaskInstance()})
    finally:
        thread.join()


@case("The job group takes longer than execution_timeout")
def _deadline(world: World) -> Any:
    began = datetime.now(UTC) - timedelta(hours=2)
    operator = TrifactaRunJobGroupOperator(
        task_id="task", wrangled_dataset_id=9, deferrable=True, execution_timeout=timedelta(hours=2)
    )
    return run_deferred(operator, {"ti": FakeTaskInstance(began)})


@case("The job group keeps an unknown status")
def _unknown_status(world: World) -> Any:
    world.emulator.order("getJobGroupStatus", "status", status=200, call=None)
    return world.run(unknown_status_timeout=0.1)


@case("There is no such flow (404)")
def _no_such_flow(world: World) -> Any:
    return world.run_flow(flow_id=4712)


@case("A recipe of a flow fails")
def _failed_flow(world: World) -> Any:
    return world.run_flow(flow_id=304)


@case("A flow has nothing to run")
def _empty_flow(world: World) -> Any:
    return world.run_flow(flow_id=303)


@case("Somebody cancels the job groups of a flow run")
def _canceled_flow(world: World) -> Any:
    with world.canceled_by_somebody("getFlowRunStatus"):
        return world.run_flow(flow_id=301, wrangled_dataset_ids=[9])


@case("The answer to the copy of a flow is lost")
def _lost_copy(world: World) -> Any:
    world.emulator.order("copyFlow", "reset", after=True)
    operator = TrifactaCopyFlowOperator(task_id="copy", flow_id=302)
    return operator.execute({"ti": FakeTaskInstance()})


@case("A flow of a plan fails")
def _failed_plan(world: World) -> Any:
    return world.run_plan(plan_id=90)


@case("A plan is not valid")
def _invalid_plan(world: World) -> Any:
    TrifactaDeleteFlowOperator(task_id="delete", flow_id=302).execute({"ti": FakeTaskInstance()})
    return world.run_plan(plan_id=89)


@case("The user of a task may not read its plan run (403)")
def _unreadable_plan_run(world: World) -> Any:
    world.emulator.order("getPlanSnapshotRun", "status", status=403, call=None)
    world.emulator.order("listPlans", "status", status=403, call=None)
    return world.run_plan(plan_id=88)


@case("A sensor waits for a plan run that another user has started (403)")
def _plan_run_of_another(world: World) -> Any:
    world.emulator.order("getPlanSnapshotRun", "status", status=403, call=None)
    sensor = TrifactaPlanRunSensor(task_id="wait", plan_snapshot_run_id=1018, timeout=60, retry_budget=0)
    return sensor.execute({"ti": FakeTaskInstance()})


# ------------------------------------------------------------------------------ OAuth 2.0 token pairs: refreshing


def _oauth_case(title: str, kind: str = "variable") -> Callable[[Callable[[OAuthAirflow], Any]], Any]:
    """Register a case of a connection with OAuth 2.0.

    :param kind: ``variable`` or ``comparing``: what keeps the pair.
    """

    def register(function: Callable[[OAuthAirflow], Any]) -> Any:
        @case(title)
        def arranged(world: World) -> Any:
            with pytest.MonkeyPatch.context() as monkeypatch:
                return function(OAuthAirflow(world.emulator, kind, monkeypatch))

        return function

    return register


def _at(event: str, happens: Callable[[], Any]) -> Keeper:
    """Return a keeper to which something happens at the first event of a name."""
    keeper = Keeper("scheduled__2024-03-01T06:00:00+00:00")

    def notice(name: str) -> None:
        first = name not in keeper.events
        keeper.events.append(name)
        if name == event and first:
            happens()

    keeper.event = notice  # type: ignore[method-assign]
    return keeper


_SENDS, _SENT = "before the refresh token is sent", "after the refresh token is sent"


@_oauth_case("The refresh token of Alteryx One has expired, or was revoked")
def _lost_pair(airflow: OAuthAirflow) -> Any:
    airflow.emulator.disable_oauth_family(airflow.pair.refresh_token)
    return airflow.refresh()


@_oauth_case("A task was killed after a refresh, before it stored the new pair")
def _killed_refresh(airflow: OAuthAirflow) -> Any:
    class Killed(BaseException):
        pass

    def kill() -> None:
        raise Killed

    with contextlib.suppress(Killed):
        airflow.refresh(_at(_SENT, kill))
    return airflow.refresh()


@_oauth_case("A new token pair could not be stored")
def _unstored_pair(airflow: OAuthAirflow) -> Any:
    def fail(action: str, name: str) -> None:
        if action == "write":
            raise ConnectionError("the API server of Airflow gives no answer")

    return airflow.refresh(_at(_SENT, lambda: setattr(airflow, "failing", fail)))


@_oauth_case("A task was suspended while it refreshed")
def _suspended_refresh(airflow: OAuthAirflow) -> Any:
    def suspend() -> None:
        airflow.clock.sleep(T + 35)
        airflow.refresh(Keeper("scheduled__2024-03-01T06:02:00+00:00"))

    return airflow.refresh(_at(_SENDS, suspend))


@_oauth_case("The token endpoint does not answer with a token pair")
def _no_pair(airflow: OAuthAirflow) -> Any:
    airflow.emulator.order("oauthToken", "status", status=503, call=None)
    return airflow.refresh()


@_oauth_case("The client id is wrong")
def _wrong_client(airflow: OAuthAirflow) -> Any:
    airflow.extra["oauth_client_id"] = "11111111-2222-3333-4444-555555555555"
    return airflow.refresh()


@_oauth_case("The token endpoint is wrong")
def _wrong_endpoint(airflow: OAuthAirflow) -> Any:
    airflow.extra["oauth_token_url"] = f"{airflow.emulator.url}/oauth"
    return airflow.refresh()


@_oauth_case("Airflow is too slow to refresh a token pair safely")
def _slow_refresh(airflow: OAuthAirflow) -> Any:
    event = f"before {VARIABLE} is written"
    return airflow.refresh(_at(event, lambda: airflow.clock.sleep(T / 3)))


@_oauth_case("Something takes precedence over the Variable with the token pair")
def _shadowed_pair(airflow: OAuthAirflow) -> Any:
    pasted, read = airflow.variables[VARIABLE], airflow.read
    shadowing = mock.patch.object(
        token_stores, "read_variable", lambda name: pasted if name == VARIABLE else read(name)
    )
    with shadowing:
        return airflow.refresh()


@_oauth_case("An environment variable takes precedence over the Variable with the token pair")
def _environment_pair(airflow: OAuthAirflow) -> Any:
    with mock.patch.dict(os.environ, {f"AIRFLOW_VAR_{VARIABLE.upper()}": "refresh-token"}):
        return airflow.refresh()


@_oauth_case("Another task refreshes the same token pair")
def _turn_of_another(airflow: OAuthAirflow) -> Any:
    def progress(action: str, name: str) -> None:
        if action == "read":
            by = "keep.refresh scheduled__2024-03-01T06:00:00+00:00"
            airflow.variables[f"{VARIABLE}_refresh"] = json.dumps({"id": airflow.clock.now, "by": by})

    airflow.failing = progress
    return airflow.refresh()


@_oauth_case("The store of the token pair refuses every write", "comparing")
def _refusing_store(airflow: OAuthAirflow) -> Any:
    with mock.patch.object(airflow, "write", return_value=False):
        return airflow.refresh()


@_oauth_case("The store with the token pair fails before a refresh")
def _failing_claim(airflow: OAuthAirflow) -> Any:
    def fail(action: str, name: str) -> None:
        if action == "write":
            raise ConnectionError("the API server of Airflow gives no answer")

    airflow.failing = fail
    return airflow.refresh()


@_oauth_case("The Variable with the token pair does not exist")
def _no_pair_variable(airflow: OAuthAirflow) -> Any:
    airflow.variables.clear()
    return airflow.refresh()


@_oauth_case("The Variable holds something else than a refresh token")
def _not_a_pair(airflow: OAuthAirflow) -> Any:
    airflow.variables[VARIABLE] = "Bearer eyJhbGciOiJSUzI1NiJ9"
    return airflow.refresh()


@_oauth_case("A setting for OAuth 2.0 is missing")
def _no_client_id(airflow: OAuthAirflow) -> Any:
    del airflow.extra["oauth_client_id"]
    return airflow.refresh()


@_oauth_case("Refresh on demand with a Variable")
def _on_demand_variable(airflow: OAuthAirflow) -> Any:
    airflow.extra["oauth_refresh_on_demand"] = True
    return airflow.refresh()


@_oauth_case("A store for a token pair cannot compare", "comparing")
def _plain_store(airflow: OAuthAirflow) -> Any:
    airflow.extra["credential_store"] = "oauth.PlainStore"
    return airflow.refresh()


@case("A connection without OAuth 2.0 is refreshed")
def _refreshed_api_token(world: World) -> Any:
    operator = TrifactaRefreshOAuthTokenOperator(task_id="refresh")
    return operator.execute({"ti": FakeTaskInstance()})


@_oauth_case("A connection with OAuth 2.0 is rotated")
def _rotated_pair(airflow: OAuthAirflow) -> Any:
    operator = TrifactaRotateApiAccessTokenOperator(task_id="rotate", lifetime_seconds=86400)
    return operator.execute({"ti": FakeTaskInstance()})


# --------------------------------------------------------------------------------- OAuth 2.0 token pairs: reading


def _read_pair() -> Any:
    operator = TrifactaRunJobGroupOperator(task_id="task", wrangled_dataset_id=7, retry_budget=31)
    return operator.execute({"ti": FakeTaskInstance()})


@_oauth_case("The access token of Alteryx One is not refreshed")
def _not_refreshed(airflow: OAuthAirflow) -> Any:
    airflow.refresh()
    airflow.clock.sleep(600)
    return _read_pair()


@_oauth_case("The refresh token was pasted, and has not been used yet")
def _not_used_yet(airflow: OAuthAirflow) -> Any:
    return _read_pair()


@_oauth_case("Fresh access tokens of Alteryx One are refused (401)")
def _fresh_tokens_refused(airflow: OAuthAirflow) -> Any:
    airflow.refresh()
    airflow.emulator.order("runJobGroup", "status", status=401, call=None)
    with mock.patch.dict(TrifactaHook.__init__.__kwdefaults__, clock=KeptClock(airflow, 1)):
        return _read_pair()


@pytest.fixture
def world(emulator: Emulator, connect: Callable[..., None], tmp_path: Path) -> World:
    connect(emulator)
    return World(emulator, connect, tmp_path)


@pytest.mark.parametrize("title", CASES)
def test_the_page_shows_what_a_person_reads(world: World, title: str) -> None:
    with pytest.raises(TrifactaError) as caught:
        CASES[title](world)
    section = _section(title, caught.value, world.folder)
    if os.environ.get("UPDATE_DOCS"):
        _write(title, section)
    assert section in PAGE.read_text(), "the page is not up to date: see the docstring of this file"


def test_the_page_shows_nothing_else() -> None:
    generated = PAGE.read_text().partition(BEGIN)[2]
    assert re.findall("^## (.*)$", generated, re.MULTILINE) == list(CASES)


def test_every_text_says_what_to_do() -> None:
    """Or that nothing is lost, so that the next run of the task can do it."""
    advice = "check|retry|administrator|raise read_timeout|spread the calls|generate|paste|copy|set |refresh|spent"
    for text in re.findall("```text\n(.*?)```", PAGE.read_text(), re.DOTALL):
        assert re.search(advice, text.partition(":")[2], re.IGNORECASE), text


def _section(title: str, error: BaseException, folder: Path) -> str:
    """Return the section of a failure in the page, without what differs from run to run."""
    text = re.sub(r"http://127\.0\.0\.1:\d+", "https://trifacta.example.com", str(error))
    text = text.replace(str(folder), "/results")
    for pattern, shown in {
        r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}": "2f6c1f0e-4a52-4c8e-9d1f-0c2f7a9b3e41",
        r"host='127.0.0.1', port=\d+": "host='trifacta.example.com', port=443",
        r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC": "2024-03-01 06:00:00 UTC",
        r" \(_ssl\.c:\d+\)": "",
        r"\[SSL: RECORD_LAYER_FAILURE\] record layer failure": "[SSL: WRONG_VERSION_NUMBER] wrong version number",
        r"\[Errno -\d+\] [^)]*": "[Errno -2] Name or service not known",
        r"Wait \d+ seconds": "Wait 42 seconds",
        r"for \d+ s\.": "for 31 s.",
        r"issued at [\d:]+ UTC": "issued at 05:55:00 UTC",
        r"about \d+ s": "about 157 s",
        r"since \d+\.\d s": "since 20.0 s",
    }.items():
        text = re.sub(pattern, shown, text)
    shown = "\n".join(textwrap.wrap(f"{type(error).__name__}: {text}", 100, break_long_words=False))
    retried = (
        "not retried, whatever `retries` is."
        if isinstance(error, AirflowFailException)
        else "retried up to `retries` times."
    )
    return f"## {title}\n\n```text\n{shown}\n```\n\nThe task is {retried}\n"


def _write(title: str, section: str) -> None:
    """Put a section into the page, in the order of the cases."""
    head, _, generated = PAGE.read_text().partition(BEGIN)
    sections = dict(re.findall(r"(?ms)^(## .*?)\n(.*?)(?=^## |\Z)", generated))
    heading, _, body = section.partition("\n")
    sections[heading] = body
    order = [f"## {title}" for title in CASES]
    text = "\n".join(f"{name}\n{sections[name].rstrip()}\n" for name in order if name in sections)
    PAGE.write_text(f"{head}{BEGIN}\n\n{text}")


@contextlib.contextmanager
def _self_signed(folder: Path) -> Iterator[str]:
    """A server on loopback with a certificate that nobody signed."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), http.server.BaseHTTPRequestHandler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed_certificate(folder))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"https://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
