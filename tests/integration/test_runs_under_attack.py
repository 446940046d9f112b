"""Flows and plans on servers that answer oddly: what must hold all the same."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from support import FakeClock, FakeTaskInstance, ScriptedServer, json_answer, run_deferred

from airflow_provider_trifacta.airflow_support.compat import AirflowFailException
from airflow_provider_trifacta.exceptions import (
    TrifactaApiError,
    TrifactaConfigurationError,
    TrifactaError,
    TrifactaFlowCopyUnknown,
    TrifactaRunCanceled,
    TrifactaRunEmpty,
    TrifactaRunFailed,
    TrifactaRunStatusUnknown,
    TrifactaSubmitOutcomeUnknown,
    TrifactaWaitFailed,
)
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.operators.flow import (
    TrifactaCopyFlowOperator,
    TrifactaDeleteFlowOperator,
    TrifactaRunFlowOperator,
)
from airflow_provider_trifacta.operators.plan import TrifactaRunPlanOperator

Connect = Callable[..., None]
Start = Callable[..., ScriptedServer]

JSON = {"content-type": "application/json"}
HTML = (404, {"content-type": "text/html"}, b"<h1>Not found</h1>")


def _refusal(status: int, name: str) -> tuple[int, dict[str, str], bytes]:
    return json_answer({"exception": {"name": name, "message": "it says so"}}, status)


NO_ROUTE = _refusal(404, "RouteNotFoundException")
FORBIDDEN = _refusal(403, "AccessControlException")
GONE = _refusal(404, "DataNotFoundException")


class Routes:
    """Answers by route.

    :param routes: what each route answers, one after the other; the last one stays. A value is JSON with 200, or
        201 where something is started; a list is the first and only page of a list; a tuple is a whole answer.
    """

    def __init__(self, **routes: Any) -> None:
        self.routes = {name: list(answers) for name, answers in routes.items()}

    def __call__(self, path: str) -> tuple[int, dict[str, str], bytes]:
        route, _, query = path.partition("?")
        answers = self.routes.get(route.removeprefix("/v4/"))
        if answers is None:
            return json_answer({"id": 17} if route.endswith("/current") else {"data": []})
        if isinstance(answers[0], list) and "offset=0" not in query:
            return json_answer({"data": []})
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, tuple):
            return answer
        status = 201 if route.endswith(("/run", "/copy")) else 200
        return json_answer({"data": answer} if isinstance(answer, list) else answer, status)


def _flow(own: list[Any], listed: list[Any], started: Any = (), **routes: Any) -> Routes:
    answer = started if isinstance(started, dict) else {"flowRunId": 5, "data": list(started)}
    return Routes(
        **{
            "flows/302/run": [answer],
            "flowRuns/5/status": own,
            "flowRuns/5/jobGroups": listed,
            "flowRuns/5": [{"id": 5, "flow": {"id": 302}}],
            **routes,
        }
    )


def _plan(run: list[Any], started: Any = None, **routes: Any) -> Routes:
    answer = {"validationStatus": "Valid", "planSnapshotRunId": 5} if started is None else started
    return Routes(**{"plans/88/run": [answer], "planSnapshotRuns/5": run, **routes})


def _row(identity: Any, status: Any, **fields: Any) -> dict[str, Any]:
    return {"id": identity, "status": status, **fields}


@pytest.fixture(autouse=True)
def fast(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeClock]:
    """Nothing sleeps."""
    clock = FakeClock(datetime.now(UTC).timestamp())
    with mock.patch.dict(TrifactaHook.__init__.__kwdefaults__, clock=clock):
        yield clock


@pytest.fixture(params=[False, True], ids=["sync", "deferred"])
def deferrable(request: pytest.FixtureRequest) -> bool:
    mode: bool = request.param
    return mode


def _run_flow(deferrable: bool, context: dict[str, Any] | None = None, **arguments: Any) -> Any:
    operator = TrifactaRunFlowOperator(task_id="task", flow_id=302, deferrable=deferrable, **arguments)
    return run_deferred(operator, context or {"ti": FakeTaskInstance()})


def _run_plan(deferrable: bool, context: dict[str, Any] | None = None, **arguments: Any) -> Any:
    operator = TrifactaRunPlanOperator(**{"task_id": "task", "plan_id": 88, "deferrable": deferrable, **arguments})
    return run_deferred(operator, context or {"ti": FakeTaskInstance()})


def _posts(server: ScriptedServer) -> list[str]:
    return [request for request in server.requests if request.startswith("POST")]


# ------------------------------------------------------------------------------------------- green means Complete


@pytest.mark.parametrize(
    "server",
    [
        lambda: _flow([HTML, "Complete"], [[_row(1, "Complete")], [_row(1, "Complete"), _row(2, "Failed")]]),
        lambda: _flow(["Complete"], [[_row(1, "Complete"), _row("x", "Failed")]]),
        lambda: _flow(["Complete"], [[_row(1, "Complete"), {"status": "InProgress"}]]),
        lambda: _flow(["Complete"], [[_row(1, "Complete\n")]]),
        lambda: _flow(["Complete"], [[_row(1, " Complete")]]),
        lambda: _flow(["Complete "], [[_row(1, "Complete")]]),
        lambda: _flow(["Complete"], [[_row(1, "complete")]]),
        lambda: _flow(["Complete"], [NO_ROUTE]),
        lambda: _flow(["Complete"], [HTML]),
        lambda: _flow(["Complete"], [{"data": {"1": "Complete"}}]),
        lambda: _flow(["Complete"], [[_row(1, "Complete"), _row(2, {"status": "Failed"})]]),
        lambda: _flow(["Complete"], [[_row(1, "Complete"), _row(2, None)]], **{"jobGroups/2/status": [GONE]}),
        lambda: _flow([GONE], [[_row(1, "Complete")]]),
        lambda: _flow([_refusal(410, "DataNotFoundException")], [[_row(1, "Complete")]]),
        lambda: _flow([FORBIDDEN], [[_row(1, "Complete")]]),
        lambda: _flow([["Complete"]], [[_row(1, "Complete")]]),
        lambda: _flow([None], [[_row(1, "Complete")]]),
    ],
)
def test_no_flow_run_is_green_unless_all_of_it_is_complete(
    deferrable: bool, scripted: Start, connect: Connect, server: Callable[[], Routes]
) -> None:
    running = scripted(server())
    connect(running.url)
    with pytest.raises((TrifactaWaitFailed, TrifactaRunFailed, TrifactaRunStatusUnknown)) as caught:
        _run_flow(deferrable, retry_budget=0)
    assert not isinstance(caught.value, AirflowFailException)
    assert len(_posts(running)) == 1


@pytest.mark.parametrize(
    "answer",
    [
        _row(5, "Complete\n"),
        _row(5, " Complete"),
        _row(5, ["Complete"]),
        _row(5, {"status": "Complete"}),
        _row(5, True),
        {"id": 5},
        _row([5], "Complete"),
        [],
        HTML,
        NO_ROUTE,
    ],
    ids=str,
)
def test_no_plan_run_is_green_unless_it_is_complete(
    deferrable: bool, scripted: Start, connect: Connect, answer: Any
) -> None:
    running = scripted(_plan([answer]))
    connect(running.url)
    with pytest.raises((TrifactaWaitFailed, TrifactaRunFailed, TrifactaRunStatusUnknown)):
        _run_plan(deferrable, retry_budget=0)
    assert len(_posts(running)) == 1


def test_a_flow_run_of_ten_thousand_job_groups(scripted: Start, connect: Connect) -> None:
    rows = [_row(number, "Complete") for number in range(1, 10_001)]
    connect(scripted(_flow(["Complete"], [rows])).url)
    assert _run_flow(False) == 5
    rows[700]["status"] = "Failed"
    connect(scripted(_flow(["Failed"], [rows])).url)
    with pytest.raises(TrifactaRunFailed, match="Job group 701 is Failed") as caught:
        _run_flow(False)
    assert len(str(caught.value)) < 2000


def test_a_status_of_a_megabyte_is_no_text_for_a_person(
    deferrable: bool, scripted: Start, connect: Connect
) -> None:
    connect(scripted(_flow(["Complete"], [[_row(1, "x" * 1_000_000)]])).url)
    with pytest.raises(TrifactaRunStatusUnknown) as caught:
        _run_flow(deferrable)
    assert len(str(caught.value)) < 1000


# ---------------------------------------------------------------------------------------------------- only one run


class Store(dict[str, Any]):
    """Airflow's task state store."""

    def set(self, key: str, value: Any) -> None:
        self[key] = json.loads(json.dumps(value))


def _try(store: Store, number: int, max_tries: int = 3) -> dict[str, Any]:
    ti = FakeTaskInstance()
    ti.try_number, ti.max_tries = number, max_tries  # type: ignore[attr-defined]
    return {
        "ti": ti,
        "task_state_store": store,
        "dag_run": SimpleNamespace(start_date=datetime(2024, 3, 1, tzinfo=UTC)),
    }


def test_an_empty_flow_run_is_not_started_again_by_a_retry(scripted: Start, connect: Connect) -> None:
    server = scripted(_flow(["InProgress", "Complete"], [[]]))
    connect(server.url)
    store = Store()
    _run_flow(False, _try(store, 1), retries=3, wait_for_completion=False)
    server_posts = _posts(server)
    with pytest.raises(TrifactaRunEmpty):
        _run_flow(False, _try(store, 2), retries=3)
    with pytest.raises(TrifactaRunEmpty):
        _run_flow(False, _try(store, 3), retries=3)
    assert _posts(server) == server_posts == ["POST /v4/flows/302/run"]


def test_a_flow_run_with_a_deleted_job_group_is_not_gone(scripted: Start, connect: Connect) -> None:
    rows = [_row(1, "InProgress"), _row(2, None)]
    server = scripted(_flow(["InProgress", "Failed"], [rows], **{"jobGroups/2/status": [GONE]}))
    connect(server.url)
    store = Store()
    _run_flow(False, _try(store, 1), retries=3, wait_for_completion=False)
    server_posts = _posts(server)
    _run_flow(False, _try(store, 2), retries=3, wait_for_completion=False)
    assert _posts(server) == server_posts


def test_a_clear_cancels_the_kind_of_run_that_there_was(scripted: Start, connect: Connect) -> None:
    store = Store()
    plans = scripted(_plan([_row(5, "InProgress")]))
    connect(plans.url)
    _run_plan(False, _try(store, 1), retries=3, wait_for_completion=False)
    # The task runs a flow from now on. A flow run of somebody else has the same number.
    server = scripted(
        _flow(
            ["InProgress"],
            [[_row(1, "InProgress")]],
            {"flowRunId": 6, "data": []},
            **{"planSnapshotRuns/5": [_row(5, "InProgress"), _row(5, "Canceled")]},
        )
    )
    connect(server.url)
    assert _run_flow(False, _try(store, 2, 4), retries=3, wait_for_completion=False) == 6
    assert _posts(server) == ["POST /v4/planSnapshotRuns/5/cancel", "POST /v4/flows/302/run"]


def test_another_plan_after_a_clear(scripted: Start, connect: Connect) -> None:
    answer = {"id": 5, "status": "InProgress", "plan": {"id": 88}}
    server = scripted(
        _plan(
            [answer, {**answer, "status": "Canceled"}],
            **{"plans/89/run": [{"validationStatus": "Valid", "planSnapshotRunId": 6}]},
        )
    )
    connect(server.url)
    store = Store()
    _run_plan(False, _try(store, 1), retries=3, wait_for_completion=False)
    again = _run_plan(False, _try(store, 2, 4), retries=3, wait_for_completion=False, plan_id=89)
    assert again == 6


@pytest.mark.parametrize(
    "identity", [0, -1, 5.0, True, [], {}, None, "", " ", "0", "..", ".", " 5", "5\n6", "x" * 1000], ids=repr
)
def test_a_plan_run_without_a_usable_id_is_looked_for(scripted: Start, connect: Connect, identity: Any) -> None:
    server = scripted(_plan([_row(5, "Complete")], {"validationStatus": "Valid", "planSnapshotRunId": identity}))
    connect(server.url)
    with pytest.raises(TrifactaSubmitOutcomeUnknown):
        _run_plan(False)
    assert _posts(server) == ["POST /v4/plans/88/run"]


@pytest.mark.parametrize("identity", [0, 5.0, True, None, [], {}, "", "five"], ids=repr)
def test_a_flow_run_without_a_usable_id_is_looked_for(scripted: Start, connect: Connect, identity: Any) -> None:
    server = scripted(_flow(["Complete"], [[_row(1, "Complete")]], {"flowRunId": identity, "data": [{"id": 1}]}))
    connect(server.url)
    with pytest.raises(TrifactaSubmitOutcomeUnknown):
        _run_flow(False)
    assert _posts(server) == ["POST /v4/flows/302/run"]


@pytest.mark.parametrize("plan", [{"plan": 88}, {"plan": {"id": "88"}}, {"planId": 88}, {"PlanID": "88"}], ids=str)
def test_a_lost_plan_run_is_found_however_its_plan_is_written(
    scripted: Start, connect: Connect, plan: dict[str, Any]
) -> None:
    listed = [_row(7, "Complete", plan=89), _row(5, "Complete", creator=17, **plan), _row(".", "Complete"), 7]
    server = scripted(_plan([_row(5, "Complete")], {"reason": "ok"}, planSnapshotRuns=[listed]))
    connect(server.url)
    assert _run_plan(False) == 5
    assert _posts(server) == ["POST /v4/plans/88/run"]


def test_the_list_of_plans_that_never_ends(scripted: Start, connect: Connect) -> None:
    routes = _plan([FORBIDDEN])

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        if not path.startswith("/v4/plans?"):
            return routes(path)
        offset = int(path.split("offset=")[1].split("&")[0])
        rows = [{"id": 1000 + offset + number} for number in range(100)]
        return json_answer({"data": rows})

    server = scripted(answer)
    connect(server.url)
    with pytest.raises(TrifactaWaitFailed):
        _run_plan(False)
    assert len(server.requests) < 200


# ------------------------------------------------------------------------------------------------- nothing runs on


def _killed(operator: Any, server: ScriptedServer) -> list[str]:
    """Kill a task at its first poll; return what is canceled."""
    with contextlib.suppress(TrifactaError):
        operator.execute({"ti": FakeTaskInstance()})
    return sorted(request for request in _posts(server) if request.endswith("/cancel"))


def _killing(routes: Routes, operators: list[Any]) -> Callable[[str], tuple[int, dict[str, str], bytes]]:
    seen: list[str] = []

    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        if path == "/v4/flowRuns/5/status" and not seen:
            seen.append(path)
            operators[0].on_kill()
        return routes(path)

    return answer


@pytest.mark.parametrize("known", [[], [1], [1, 2]], ids=str)
def test_a_kill_cancels_job_groups_that_came_after_the_start(
    scripted: Start, connect: Connect, known: list[int]
) -> None:
    rows = [_row(number, "InProgress") for number in (1, 2)]
    operator = TrifactaRunFlowOperator(task_id="task", flow_id=302)
    routes = _flow(["Canceled"], [rows, [_row(1, "Canceled")]], [{"id": number} for number in known])
    server = scripted(_killing(routes, [operator]))
    connect(server.url)
    assert _killed(operator, server) == ["POST /v4/jobGroups/1/cancel", "POST /v4/jobGroups/2/cancel"]


def test_a_kill_before_there_is_a_job_group_says_so(
    scripted: Start, connect: Connect, caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("INFO")
    operator = TrifactaRunFlowOperator(task_id="task", flow_id=302)
    server = scripted(_killing(_flow(["Failed"], [[]]), [operator]))
    connect(server.url)
    _killed(operator, server)
    assert "no job group" in (caplog.text + capsys.readouterr().out).split("Task killed")[1]


def test_job_groups_of_another_flow_run_in_the_answer_to_the_start(scripted: Start, connect: Connect) -> None:
    started = [{"id": 1, "flowRun": {"id": 5}}, {"id": 9, "flowRun": {"id": 6}}, "x", {"id": "y"}]
    operator = TrifactaRunFlowOperator(task_id="task", flow_id=302)
    routes = _flow(["Canceled"], [[_row(1, "InProgress")], [_row(1, "Canceled")]], started)
    server = scripted(_killing(routes, [operator]))
    connect(server.url)
    assert _killed(operator, server) == ["POST /v4/jobGroups/1/cancel"]


# ------------------------------------------------------------------------------------------------------ the reason


def test_a_flow_run_canceled_before_it_had_a_job_group(
    deferrable: bool, scripted: Start, connect: Connect
) -> None:
    connect(scripted(_flow(["Canceled"], [[]])).url)
    with pytest.raises(TrifactaRunCanceled, match="was canceled") as caught:
        _run_flow(deferrable)
    assert "will not help" not in str(caught.value)


NODES = {"data": [{"id": n, "name": f"flow-{n}", "flow": {"id": n}} for n in range(1, 201)]}


def test_a_plan_of_two_hundred_failed_nodes(scripted: Start, connect: Connect) -> None:
    nodes = [{"handle": f"flow-{number}", "status": "Failed"} for number in range(1, 201)]
    connect(scripted(_plan([{"id": 5, "status": "Failed", "nodes": nodes}])).url)
    with pytest.raises(TrifactaRunFailed, match=r"flow-1 Failed.*more") as caught:
        _run_plan(False)
    assert len(str(caught.value)) < 2000


def test_failed_nodes_are_named_although_job_groups_cannot_be_listed(scripted: Start, connect: Connect) -> None:
    run = {
        "id": 5,
        "status": "Failed",
        "startedAt": "2024-03-01T00:00:00Z",
        "nodes": [_row(1, "Failed", name="a")],
    }
    connect(scripted(_plan([run], jobLibrary=[FORBIDDEN])).url)
    with pytest.raises(TrifactaRunFailed, match="Node a Failed"):
        _run_plan(False)


@pytest.mark.parametrize(
    "full", [FORBIDDEN, {"id": 88}, {"id": 88, "planNodes": NODES}], ids=["403", "none", "all"]
)
def test_job_groups_of_other_plans_are_not_blamed(scripted: Start, connect: Connect, full: Any) -> None:
    run = {"id": 5, "status": "Failed", "startedAt": "2024-03-01T00:00:00Z"}
    job_group = {"id": 77, "status": "Failed", "wrangledDataset": {"id": 9, "flow": {"id": 999}}}
    routes = _plan(
        [run],
        **{
            "plans/88/full": [full],
            "jobLibrary": [[job_group]],
            "jobGroups/77": [job_group],
            "jobGroups/77/jobs": [{"data": [{"id": 1, "status": "Failed", "jobType": "wrangle"}]}],
        },
    )
    connect(scripted(routes).url)
    with pytest.raises(TrifactaRunFailed) as caught:
        _run_plan(False)
    assert "77" not in str(caught.value).partition("See ")[0]


@pytest.mark.parametrize(
    "event", [None, [], {"outcome": "final"}, {"outcome": "final", "flow_run_id": {}}], ids=str
)
def test_an_unusable_event_without_a_run(scripted: Start, connect: Connect, event: Any) -> None:
    connect(scripted(Routes()).url)
    for operator in (
        TrifactaRunFlowOperator(task_id="task", flow_id=302),
        TrifactaRunPlanOperator(task_id="task", plan_id=88),
    ):
        with pytest.raises(TrifactaError):
            operator.execute_complete({"ti": FakeTaskInstance()}, event=event)


@pytest.mark.parametrize("value", [10**5000, -(10**5000)], ids=["large", "small"])
def test_a_parameter_that_python_does_not_write(scripted: Start, connect: Connect, value: int) -> None:
    connect(scripted(Routes()).url)
    for run in (
        lambda: _run_flow(False, run_parameters={"n": value}),
        lambda: _run_plan(False, run_parameters={"flow-1": {"n": value}}),
    ):
        with pytest.raises(TrifactaConfigurationError, match="n"):
            run()


def test_ids_that_a_template_has_made_a_string(scripted: Start, connect: Connect) -> None:
    server = scripted(Routes())
    connect(server.url)
    with pytest.raises(TrifactaConfigurationError, match="render_template_as_native_obj"):
        _run_flow(False, wrangled_dataset_ids="[21, 22]")
    assert server.requests == []


# ------------------------------------------------------------------------------------------------- copy and delete

LOST = (502, {"content-type": "text/html"}, b"<h1>Bad gateway</h1>")


def _copy(**arguments: Any) -> Any:
    operator = TrifactaCopyFlowOperator(**{"task_id": "task", "flow_id": 302, "name": "Copy", **arguments})
    return operator.execute({"ti": FakeTaskInstance()})


def _listed(identity: Any, **fields: Any) -> dict[str, Any]:
    return {"id": identity, "name": "Copy", "createdAt": "2999-01-01T00:00:00Z", "creator": {"id": 17}, **fields}


@pytest.mark.parametrize(
    "listed",
    [
        [FORBIDDEN],
        [HTML],
        [{"data": None}],
        [[]],
        [[_listed(8, createdAt=None)]],
        [[_listed(8), _listed(9)]],
        [[_listed(8)], [_listed(8), _listed(9)]],
        [[_listed(True)]],
    ],
    ids=["forbidden", "html", "no-list", "none", "without-date", "two", "a-twin-first", "no-id"],
)
@pytest.mark.parametrize("answer", [LOST, {"name": "Copy"}, {"id": ""}, {"id": 302}, {"id": 0}], ids=str)
def test_an_ambiguous_copy_is_not_made_again(
    scripted: Start, connect: Connect, listed: list[Any], answer: Any
) -> None:
    server = scripted(Routes(**{"flows/302/copy": [answer], "flows": listed}))
    connect(server.url)
    with pytest.raises(TrifactaFlowCopyUnknown):
        _copy()
    assert len(_posts(server)) == 1


def test_a_copy_that_the_list_shows_late(scripted: Start, connect: Connect) -> None:
    server = scripted(Routes(**{"flows/302/copy": [LOST], "flows": [[], [], [_listed(302), _listed("8")]]}))
    connect(server.url)
    assert _copy() in (8, "8")


@pytest.mark.parametrize(
    "answer",
    [(200, {"content-type": "text/html"}, b"<h1>Please log in</h1>"), HTML, NO_ROUTE, FORBIDDEN, LOST],
    ids=["login", "404", "route", "403", "502"],
)
def test_a_flow_is_not_deleted_by_what_is_no_answer_of_the_api(
    scripted: Start, connect: Connect, answer: Any
) -> None:
    connect(scripted(Routes(**{"flows/302": [answer]})).url)
    with pytest.raises(TrifactaApiError):
        TrifactaDeleteFlowOperator(task_id="task", flow_id=302).execute({"ti": FakeTaskInstance()})


@pytest.mark.parametrize("answer", [(204, {}, b""), (200, JSON, b"{}"), (200, {}, b""), (202, JSON, b"")], ids=str)
def test_a_flow_is_deleted_by_any_success(scripted: Start, connect: Connect, answer: Any) -> None:
    connect(scripted(Routes(**{"flows/302": [answer]})).url)
    TrifactaDeleteFlowOperator(task_id="task", flow_id=302).execute({"ti": FakeTaskInstance()})
