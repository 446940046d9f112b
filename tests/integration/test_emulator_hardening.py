"""What a browser or a broken client may send to the emulator."""

from __future__ import annotations

import http.client
import json
import os
import threading
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.emulator import Emulator


class Sent:
    """The answer to one request, sent without what a client library would add or refuse."""

    def __init__(
        self, emulator: Emulator, method: str, path: str, body: bytes | None = None, **headers: str | None
    ) -> None:
        connection = http.client.HTTPConnection(urlsplit(emulator.url).netloc, timeout=10)
        sent = {"authorization": f"Bearer {emulator.token}", "content-type": "application/json", **headers}
        try:
            connection.putrequest(method, path, skip_host="host" in sent, skip_accept_encoding=True)
            for name, value in sent.items():
                if value is not None:
                    connection.putheader(name, value)
            if body is not None:
                connection.putheader("content-length", str(len(body)))
            connection.endheaders(body)
            answer = connection.getresponse()
            self.status, self.body, self.headers = answer.status, answer.read(), answer.headers
        finally:
            connection.close()

    @property
    def exception(self) -> dict[str, Any]:
        exception = json.loads(self.body)["exception"]
        assert exception["name"]
        assert exception["message"]
        return dict(exception)


# ------------------------------------------------------------------------------------------------------ browsers


@pytest.mark.parametrize(
    "host",
    [
        "evil.example.com",
        "evil.example.com:80",
        "127.0.0.1.evil.example.com",
        "localhost.evil",
        "10.0.0.1",
        "x@[::1",
    ],
)
@pytest.mark.parametrize("path", ["/", "/v4/people/current", "/emulator/journal", "/jobs/1"])
def test_a_foreign_host_is_refused(emulator: Emulator, host: str, path: str) -> None:
    answer = Sent(emulator, "GET", path, host=host)
    assert answer.status == 403
    assert "Host" in answer.exception["details"]
    assert emulator.token.encode() not in answer.body


@pytest.mark.parametrize(
    "host", ["localhost", "LOCALHOST:3005", "127.0.0.1", "127.0.0.2:1", "[::1]:3005", "localhost."]
)
def test_names_of_this_machine_are_accepted(emulator: Emulator, host: str) -> None:
    assert Sent(emulator, "GET", "/v4/people/current", host=host).status == 200


def test_a_name_that_was_allowed_is_accepted() -> None:
    with Emulator(hosts=["trifacta.test"]) as emulator:
        assert Sent(emulator, "GET", "/v4/people/current", host="Trifacta.test:8080").status == 200
        assert Sent(emulator, "GET", "/v4/people/current", host="other.test").status == 403


CONTROL = [
    ("GET", "journal", None),
    ("DELETE", "journal", None),
    ("GET", "faults", None),
    ("POST", "faults", b'{"operation": "*", "kind": "reset"}'),
    ("DELETE", "faults", None),
    ("PATCH", "settings", b'{"pace": "polls=9"}'),
    ("GET", "token", None),
    ("PUT", "token", b'{"token": "mine"}'),
]


@pytest.mark.parametrize(("method", "route", "body"), CONTROL)
@pytest.mark.parametrize("authorization", [None, "", "Bearer", "Bearer wrong", "Basic wrong", "Bearer \xff"])
def test_control_routes_need_the_token(
    emulator: Emulator, method: str, route: str, body: bytes | None, authorization: str | None
) -> None:
    emulator.order("getPlan", "reset")
    answer = Sent(emulator, method, f"/emulator/{route}", body, authorization=authorization)
    assert answer.status == 401
    assert answer.exception["name"] == "UnauthorizedException"
    assert len(emulator.app.faults.all()) == 1
    assert emulator.stored_token == emulator.token


@pytest.mark.parametrize(("method", "route", "body"), CONTROL)
@pytest.mark.parametrize(
    "origin", ["http://evil.example.com", "null", "https://localhost:1", "http://127.0.0.1:1"]
)
def test_control_routes_refuse_other_origins(
    emulator: Emulator, method: str, route: str, body: bytes | None, origin: str
) -> None:
    answer = Sent(emulator, method, f"/emulator/{route}", body, origin=origin)
    assert answer.status == 403
    assert "Origin" in answer.exception["details"]
    assert emulator.app.faults.all() == []


@pytest.mark.parametrize(("method", "route", "body"), CONTROL)
def test_control_routes_serve_whoever_has_the_token(
    emulator: Emulator, method: str, route: str, body: bytes | None
) -> None:
    emulator.delete_token(emulator.token)  # rotated away: it still proves who started the server
    assert Sent(emulator, method, f"/emulator/{route}", body, origin=emulator.url).status < 300


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "journal"), ("GET", "nothing"), ("GET", "journal/"), ("GET", "")]
)
def test_control_routes_that_do_not_exist(emulator: Emulator, method: str, path: str) -> None:
    answer = Sent(emulator, method, f"/emulator/{path}")
    assert (answer.status, answer.exception["name"]) == (404, "RouteNotFoundException")


# ----------------------------------------------------------------------------------------------------- bad input

DEEP = b"[" * 100_000 + b"]" * 100_000
ODD_BODIES = [
    b"",
    b"\xff\xfe\xfd",
    b"{",
    b"null",
    b"[]",
    b"7",
    b'"text"',
    b"NaN",
    b'{"name": NaN}',
    b'{"name": 1e999}',
    b'{"name": "\\ud800"}',
    b'{"name": "\\u0000"}',
    b'{"name": %s}' % (b"9" * 5000),
    b'{"id": %s}' % (b"9" * 400),
    DEEP,
    b'{"overrides": %s}' % DEEP,
    b'{"name": %s}' % (b'{"a":' * 5000 + b"1" + b"}" * 5000),
    b'{"name": []}',
    b'{"name": {}, "id": [], "flow": 5, "_behaviour": "none", "_output": 3, "_deleted": true}',
    b'{"wrangledDataset": {"id": 7}, "overrides": {"writesettings": [1]}, "runParameters": {"overrides": 5}}',
    b'{"wrangledDataset": {"id": 7}, "overrides": {"writesettings": 5}}',
    b'{"wrangledDataset": {"id": 7}, "runParameters": {"overrides": {"data": 7}}, "ranfrom": {"a": 1}}',
    b'{"wrangledDataset": {"id": 1e300}}',
    b'{"wrangledDataset": {"id": true}}',
    b'{"lifetimeSeconds": 1000000000000000000000000000000}',
    b'{"lifetimeSeconds": 99999999999999}',
    b'{"flow": {"id": 301}, "importedDataset": 5}',
    b'{"flowNodeId": 7, "flownode": 5, "isAdhoc": [], "writeSettings": [1], "publications": 5}',
    b'{"wrangledDatasetIds": 5, "overrides": 5}',
]


@pytest.mark.parametrize("number", range(len(ODD_BODIES)))
def test_odd_bodies_are_refused_or_taken_but_never_break(emulator: Emulator, number: int) -> None:
    emulator.change_settings(enforce_quotas=False)
    for operation in emulator.app.contract.operations.values():
        if operation.method == "GET" or operation.id == "deleteApiAccessToken":
            continue
        for identity in ("7", "301", "88"):
            path = operation.path.replace("{id}", identity).replace("{tokenId}", identity)
            answer = Sent(emulator, operation.method, path, ODD_BODIES[number])
            assert answer.status < 500, (operation.id, answer.body)
            if answer.status >= 400:
                assert answer.exception
    _still_works(emulator)


@pytest.mark.parametrize("odd", [5, "x", [], {}, None, {"id": "nothing"}], ids=json.dumps)
def test_odd_members_of_a_good_body_break_nothing_later(emulator: Emulator, odd: Any) -> None:
    members = ("id", "flow", "recipe", "folder", "workspace", "flownode", "connection", "_behaviour", "_output")
    for member in members:
        for method, path, body in (
            ("POST", "flows", {"name": "n"}),
            ("POST", "wrangledDatasets", {"name": "n", "flow": {"id": 301}, "importedDataset": {"id": 1001}}),
            ("PATCH", "flows/301", {}),
            ("PATCH", "wrangledDatasets/7", {}),
        ):
            answer = Sent(emulator, method, f"/v4/{path}", json.dumps({**body, member: odd}).encode())
            assert answer.status < 500
    _still_works(emulator)


def _still_works(emulator: Emulator) -> None:
    """Whatever was taken breaks no later request."""
    for operation in emulator.app.contract.operations.values():
        if operation.method == "GET" and "{" not in operation.path:
            assert Sent(emulator, "GET", operation.path).status < 500, operation.id
    for identity in [row["id"] for row in emulator.state.rows("flows", deleted=True)]:
        for path in (f"/v4/flows/{identity}/package", f"/v4/flows/{identity}?embed=flownodes"):
            assert Sent(emulator, "GET", path).status < 500, path
    assert Sent(emulator, "GET", "/emulator/journal").status == 200
    assert Sent(emulator, "GET", "/", accept="text/html").status == 200


ODD_QUERIES = [
    *(
        "limit=0",
        "limit=-1",
        "limit=x",
        "limit=99999999999999999999",
        "limit=1e3",
        "limit=%FF",
        "limit=",
        "limit=%C2%B2",
    ),
    *("offset=999999999999999999", "sort=nothing", "sort=-", "sort=creator", "sort=-name,id", "fields=%00;;,"),
    *(
        "embed=",
        "embed=,",
        "embed=nothing",
        "embed=(((",
        "embed=a.b.c.d",
        "embed=" + "creator." * 2000 + "workspace",
    ),
    *("embed=jobs(limit=%C2%B2)", "embed=jobs(limit=" + "9" * 5000 + ")", "embed=jobs(sort=nothing)"),
    *("filter=%ED%A0%80", "filter=x&filterFields=nothing", "filter=x&filterType=odd", "filterFields=,"),
    *(
        "dateFilter[createdAt][gte]=x",
        "dateFilter[createdAt][gte]=-1",
        "dateFilter[updatedAt][lt]=9999999999999999",
    ),
    *("includeCount=maybe", "includeCount=2", "includeDeleted=odd", "runBy=nobody", "status=odd", "flowNodeId=x"),
    *("folderId=7", "folderId=%F0%9F%92%A9", "%FF=%FF", "&&==&", "a" * 8000),
]


@pytest.mark.parametrize("query", ODD_QUERIES, ids=range(len(ODD_QUERIES)))
def test_odd_queries_never_break(emulator: Emulator, query: str) -> None:
    with TrifactaClient(ClientSettings(emulator.url), emulator.token) as client:
        identity = str(client.run_job_group(7)["id"])
    for operation in emulator.app.contract.operations.values():
        if operation.method == "GET":
            path = operation.path.replace("{id}", identity)
            answer = Sent(emulator, "GET", f"{path}?{query}".encode().decode("latin-1"))
            assert answer.status < 500, (operation.id, answer.body)


@pytest.mark.parametrize(
    "identity",
    ["%FF", "%ED%A0%80", "%00", "%2F..%2F", "-1", "0x7", "9" * 30, "9" * 5000, "1e3", "null", "%", "%zz", "7;x"],
)
def test_odd_paths_never_break(emulator: Emulator, identity: str) -> None:
    for path in (f"/v4/jobGroups/{identity}", f"/v4/{identity}", f"/{identity}", f"/emulator/{identity}"):
        answer = Sent(emulator, "GET", path)
        assert answer.status in (400, 404)
        assert answer.exception
    for path in (f"/jobs/{identity}", f"/flows/{identity}"):
        assert Sent(emulator, "GET", path, accept="text/html").status == 404


ODD_FAULTS: list[dict[str, Any]] = [
    {"call": "x"}, {"call": True}, {"call": 0}, {"call": 1.5}, {"times": "3"}, {"times": 0}, {"times": None},
    {"after": "yes"}, {"status": 9999}, {"status": "x"}, {"status": 100}, {"status": None}, {"seconds": "x"},
    {"seconds": -1}, {"seconds": None}, {"seconds": 1e308}, {"headers": 5}, {"headers": {"a": 5}},
    {"headers": {"a": "b\r\nc: d"}}, {"headers": {"a b": "c"}}, {"headers": {"a": "€"}}, {"operation": 5},
    {"operation": ["x"]}, {"kind": []}, {"kind": {}}, {"kind": None}, {"more": 1},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD_FAULTS, ids=json.dumps)
def test_odd_faults_are_refused(emulator: Emulator, odd: dict[str, Any]) -> None:
    body = json.dumps({"operation": "*", "kind": "status", **odd}).encode()
    answer = Sent(emulator, "POST", "/emulator/faults", body)
    assert (answer.status, answer.exception["name"]) == (400, "ValidationFailed")
    assert Sent(emulator, "GET", "/v4/people/current").status == 200


ODD_SETTINGS: list[dict[str, Any]] = [
    {"pace": 5}, {"pace": []}, {"enforce_quotas": "yes"}, {"honour_execution_id": 1}, {"library_lag": "x"},
    {"library_lag": -1}, {"library_lag": []}, {"source_word": 5}, {"source_word": {}}, {"ids": []}, {"ids": {}},
    {"library_recipes": "x"}, {"field_names": 5}, {"nothing": 1}, {"self": 1}, {"opaque_tokens": []},
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD_SETTINGS, ids=json.dumps)
def test_odd_settings_are_refused_as_a_whole(emulator: Emulator, odd: dict[str, Any]) -> None:
    body = json.dumps({"access_tokens_enabled": False, **odd}).encode()
    answer = Sent(emulator, "PATCH", "/emulator/settings", body)
    assert (answer.status, answer.exception["name"]) == (400, "ValidationFailed")
    assert emulator.app.access_tokens_enabled
    _still_works(emulator)


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"5", b"null", b"\xff", b"NaN", DEEP, b'{"library_lag": NaN}'], ids=range(8)
)
@pytest.mark.parametrize(("method", "route"), [("POST", "faults"), ("PATCH", "settings"), ("PUT", "token")])
def test_odd_control_bodies_are_refused(emulator: Emulator, method: str, route: str, body: bytes) -> None:
    answer = Sent(emulator, method, f"/emulator/{route}", body)
    assert (answer.status, answer.exception["name"]) == (400, "ValidationFailed")


@pytest.mark.parametrize("data", [b"[]", b"5", b"{}", b'{"name": 1, "recipes": [5]}', DEEP, b"\xff"], ids=range(6))
def test_odd_packages_are_refused_and_leave_nothing(emulator: Emulator, data: bytes) -> None:
    import io
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as package:
        package.writestr("data", data)
    before = len(list(emulator.state.rows("flows")))
    part = b'--x\r\nContent-Disposition: form-data; name="data"; filename="f.zip"\r\n\r\n%s\r\n--x--\r\n'
    answer = Sent(
        emulator,
        "POST",
        "/v4/flows/package",
        part % file.getvalue(),
        **{"content-type": "multipart/form-data; boundary=x"},
    )
    assert (answer.status, answer.exception["name"]) == (400, "ValidationFailed")
    assert len(list(emulator.state.rows("flows"))) == before


@pytest.mark.parametrize("yes", ["true", "True", "TRUE", "1"])
@pytest.mark.parametrize("no", ["false", "False", "FALSE", "0"])
def test_booleans_in_any_case(emulator: Emulator, yes: str, no: str) -> None:
    def library(text: str) -> dict[str, Any]:
        return dict(json.loads(Sent(emulator, "GET", f"/v4/jobLibrary?includeCount={text}").body))

    assert "count" in library(yes)
    assert "count" not in library(no)
    emulator.state.get("flows", 301)["_deleted"] = True
    for path in ("flows", "flows/301"):
        assert Sent(emulator, "GET", f"/v4/{path}?includeDeleted={yes}").body.count(b"Orders nightly") == 1
        assert b"Orders nightly" not in Sent(emulator, "GET", f"/v4/{path}?includeDeleted={no}").body


# ------------------------------------------------------------------------------------------------------- fixture


def test_the_fixture_leaves_nothing_behind(pytester_home: Path) -> None:
    from airflow_provider_trifacta.emulator import pytest_plugin

    environment, threads = dict(os.environ), set(threading.enumerate())
    patch = pytest.MonkeyPatch()
    running = pytest_plugin.trifacta_emulator.__wrapped__(patch)  # type: ignore[attr-defined]
    emulator = next(running)
    assert Sent(emulator, "GET", "/v4/people/current").status == 200
    with pytest.raises(StopIteration):
        next(running)
    patch.undo()
    assert dict(os.environ) == environment
    assert set(threading.enumerate()) == threads
    assert list(pytester_home.iterdir()) == []


@pytest.fixture
def pytester_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    return tmp_path


def test_the_token_of_the_fixture_can_be_rotated(trifacta_emulator: Emulator) -> None:
    from datetime import timedelta

    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.operators.access_token import TrifactaRotateApiAccessTokenOperator

    for _ in range(2):
        before = trifacta_emulator.stored_token
        rotate = TrifactaRotateApiAccessTokenOperator(
            task_id="rotate", lifetime_seconds=3600, keep_previous_for=timedelta(0), revoke_others=True
        )
        assert rotate.execute({})["rotated"]
        assert trifacta_emulator.stored_token != before
        assert TrifactaHook().get_current_person()["id"] == 17
        assert Sent(trifacta_emulator, "GET", "/v4/people/current", authorization=f"Bearer {before}").status == 401


# --------------------------------------------------------------------------------------------------------- pages

HOSTILE = "<script>alert(1)</script><img src=x onerror='a'>\"&{home}{0}"


def _page(emulator: Emulator, path: str, **headers: str) -> Sent:
    answer = Sent(emulator, "GET", path, authorization=None, accept="text/html,*/*;q=0.8", **headers)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    for outside in (b"http:", b"https:", b"src=", b"@import", b"url("):
        assert outside not in answer.body.replace(b"src=x", b"")
    assert emulator.token.encode() not in answer.body
    return answer


def test_pages_show_what_a_person_wants_to_know(emulator: Emulator) -> None:
    with TrifactaClient(ClientSettings(emulator.url), emulator.token) as client:
        good, bad = client.run_job_group(7)["id"], client.run_job_group(8)["id"]
    page = _page(emulator, f"/jobs/{good}").body.decode()
    for text in ("Complete", "Orders clean (7)", "Orders nightly (301)", "s3://example-bucket/orders/out_7.csv"):
        assert text in page
    page = _page(emulator, f"/jobs/{bad}").body.decode()
    assert "Failed" in page
    assert "Column &#x27;order_date&#x27; not found" in page
    page = _page(emulator, "/flows/301?recipe=7").body.decode()
    assert f'<a href="/jobs/{good}">' in page
    page = _page(emulator, "/").body.decode()
    assert f'<a href="/jobs/{bad}">' in page
    assert '<a href="/flows/301">' in page


def test_pages_show_plans_and_lists(emulator: Emulator) -> None:
    with TrifactaClient(ClientSettings(emulator.url), emulator.token) as client:
        good = client.run_plan(89)["planSnapshotRunId"]
        bad = client.run_plan(90, run_parameters={"flow-1": {"region": "emea"}})["planSnapshotRunId"]
        failed = next(iter(client.list_job_library(status="Failed")))["id"]
    page = _page(emulator, "/plans").body.decode()
    for text in ('<a href="/plans/88">Nightly (88)</a>', '<a href="/plans/90">', "Complete", "Failed"):
        assert text in page
    page = _page(emulator, f"/plans/89/?run={good}").body.decode()
    for text in ("Plan 89: Weekly", "flow-1", '<a href="/flows/302">', str(good), "Complete"):
        assert text in page
    assert "Failed" not in page
    page = _page(emulator, "/plans/90").body.decode()
    for text in (str(bad), "Failed", "flow-2", '<a href="/flows/304">', f'<a href="/jobs/{failed}">'):
        assert text in page
    assert f'<a href="/jobs/{failed}">' in _page(emulator, "/jobs").body.decode()
    page = _page(emulator, "/").body.decode()
    for text in ('<a href="/plans/88">', '<a href="/jobs">', '<a href="/plans">'):
        assert text in page


def test_the_page_of_a_plan_shows_a_flow_that_is_gone(emulator: Emulator) -> None:
    with TrifactaClient(ClientSettings(emulator.url), emulator.token) as client:
        client.delete_flow(302)
    assert "deleted" in _page(emulator, "/plans/89").body.decode()


def test_pages_escape_what_people_named(emulator: Emulator) -> None:
    with TrifactaClient(ClientSettings(emulator.url), emulator.token) as client:
        client.send(_rename("flows/301"))
        client.run_plan(88)
        emulator.state.get("plans", 88)["name"] = HOSTILE
        client.send(_rename("wrangledDatasets/8"))
        emulator.state.get("wrangledDatasets", 8)["_behaviour"] = "complete"
        identity = client.run_job_group(8, overrides={"writesettings": [{"path": f"s3://{HOSTILE}"}]})["id"]
    for path in ("/", "/flows/301", f"/jobs/{identity}", "/jobs", "/plans", "/plans/88"):
        page = _page(emulator, path).body.decode()
        assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
        assert "<script" not in page
        assert "<img" not in page


def _rename(path: str) -> Any:
    from airflow_provider_trifacta.api.messages import Operation, Request

    return Operation(Request("PATCH", f"/v4/{path}", body={"name": HOSTILE}), lambda answer: answer.json())


@pytest.mark.parametrize(
    "path", ["/jobs/1", "/flows/1", "/jobs/%3Cscript%3E", "/flows/x", "/plans/1", "/plans/%3Cscript%3E"]
)
def test_pages_that_do_not_exist(emulator: Emulator, path: str) -> None:
    answer = _page(emulator, path)
    assert answer.status == 404
    assert b"<script" not in answer.body


def test_pages_are_behind_the_prefix_and_count_no_poll() -> None:
    with Emulator(prefix="/tri", pace="polls=2") as emulator:
        with TrifactaClient(ClientSettings(emulator.url), emulator.token) as client:
            identity = client.run_job_group(7)["id"]
            plan_run = client.run_plan(89)["planSnapshotRunId"]
            calls = len(emulator.journal)
            for _ in range(5):
                page = _page(emulator, f"/tri/jobs/{identity}").body.decode()
                assert '<a href="/tri/plans/89">' in _page(emulator, "/tri/plans").body.decode()
                assert '<a href="/tri/flows/302">' in _page(emulator, "/tri/plans/89").body.decode()
            assert '<a href="/tri/flows/301">' in page
            assert f'<a href="/tri/jobs/{identity}">'.encode() in _page(emulator, "/tri").body
            assert len(emulator.journal) == calls
            assert client.get_job_group_status(identity) == "Created"
            assert client.get_plan_snapshot_run(plan_run)["status"] == "Created"
        assert Sent(emulator, "GET", "/jobs/1", accept="text/html").status == 404


@pytest.mark.parametrize("path", ["/", "/jobs", "/jobs/1", "/flows/301", "/plans", "/plans/88"])
def test_programs_get_no_pages(emulator: Emulator, path: str) -> None:
    answer = Sent(emulator, "GET", path, accept="application/json")
    assert (answer.status, answer.exception["name"]) == (404, "RouteNotFoundException")
    assert len(emulator.journal) == 1
