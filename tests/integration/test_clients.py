from __future__ import annotations

import logging
import socket
import threading
from pathlib import Path
from typing import Any

import pytest
from support import Caller, FakeClock

from airflow_provider_trifacta.api import operations as ops
from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK
from airflow_provider_trifacta.api.credentials import StaticToken
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaBadRequest,
    TrifactaConfigurationError,
    TrifactaDuplicateExecution,
    TrifactaFeatureDisabled,
    TrifactaForbidden,
    TrifactaGone,
    TrifactaNotFound,
    TrifactaRateLimited,
    TrifactaServerError,
    TrifactaTransportError,
    TrifactaUnauthorized,
    TrifactaUnsupportedMediaType,
)
from airflow_provider_trifacta.api.retries import RetryPolicy
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.emulator import Emulator


def test_every_operation_on_job_groups(call: Caller, emulator: Emulator) -> None:
    started = call(ops.run_job_group(7, run_parameters={"region": "emea"}), emulator)
    identity = started["id"]
    assert call(ops.get_job_group_status(identity), emulator) == "Complete"
    assert call(ops.get_job_group_status(str(identity)), emulator) == "Complete"
    job_group = call(ops.get_job_group(identity, embed=["jobs", "wrangledDataset"]), emulator)
    assert job_group["wrangledDataset"]["name"] == "Orders clean"
    jobs = call(ops.get_jobs_for_job_group(identity), emulator)
    assert [job["jobType"] for job in jobs] == ["wrangle", "filewriter", "profile"]
    assert call(ops.get_job_status(jobs[0]["id"]), emulator) == "Complete"
    assert call(ops.get_job_group_inputs(identity), emulator)[0]["name"] == "orders_raw_7"
    assert call(ops.get_job_group_outputs(identity), emulator)["files"][0]["isPrimaryOutput"] is True
    assert "columnTypes" in call(ops.get_profiling_information_for_job_group(identity), emulator)
    assert "7" in call(ops.get_profiling_information_for_job_group_consistent(identity), emulator)
    assert call(ops.get_job_group_pdf_results(identity), emulator).startswith(b"%PDF")
    assert call(ops.get_publications_for_job_group(identity), emulator) == []
    assert call(ops.cancel_job_group(identity), emulator)["jobgroupId"] == identity
    assert [row["id"] for row in call(ops.list_job_groups(flow_node_id=7), emulator)] == [identity]
    assert call(ops.count_job_library(status="Complete", run_by="currentUser"), emulator) == 1


def test_tokens_and_people(call: Caller, emulator: Emulator) -> None:
    person = call(ops.get_current_person(), emulator)
    assert person["email"] == "emulator@example.com"
    created = call(ops.create_api_access_token(3600, description="test"), emulator)
    token_id = created["tokenInfo"]["tokenId"]
    assert call(ops.get_current_person(), emulator, created["tokenValue"])["id"] == person["id"]
    assert {row["tokenId"] for row in call(ops.list_api_access_tokens(), emulator)} > {token_id}
    assert call(ops.get_api_access_token(token_id), emulator)["description"] == "test"
    assert call(ops.delete_api_access_token(token_id), emulator) is None
    with pytest.raises(TrifactaNotFound):
        call(ops.get_api_access_token(token_id), emulator)
    with pytest.raises(TrifactaUnauthorized):
        call(ops.get_current_person(), emulator, created["tokenValue"])


def test_other_resources_the_generic_way(call: Caller, emulator: Emulator) -> None:
    flow = call(ops.create_resource("flows", {"name": "A/B & ü"}), emulator)
    assert call(ops.get_resource("flows", flow["id"], fields=["id", "name"]), emulator)["name"] == "A/B & ü"
    assert call(ops.update_resource("flows", flow["id"], {"name": "other"}), emulator)["id"] == flow["id"]
    found = call(ops.list_resource("flows", filter="other", filter_type="exact"), emulator)
    assert [row["id"] for row in found] == [flow["id"]]
    copy = call(ops.run_action("flows", 301, "copy", {"name": "copy"}), emulator)
    run = call(ops.run_action("flows", copy["id"], "run"), emulator)
    assert len(run["data"]) == 5
    assert call(ops.delete_resource("flows", flow["id"]), emulator) is None
    with pytest.raises(TrifactaGone):
        call(ops.get_resource("flows", flow["id"]), emulator)
    assert call(ops.get_resource("flows", flow["id"], include_deleted=True), emulator)["name"] == "other"


def test_lists_give_everything(call: Caller, emulator: Emulator) -> None:
    for _ in range(60):
        call(ops.run_job_group(7), emulator)
    assert len(call(ops.list_job_library(), emulator)) == 60
    assert len(call(ops.list_job_library(page_size=7, sort="-createdAt"), emulator)) == 60
    assert len(call(ops.list_job_library(limit=10), emulator)) == 10
    assert call(ops.list_job_library(limit=0), emulator) == []
    assert len(call(ops.list_job_library(date_filter={"createdAt": {"gte": 0}}), emulator)) == 60
    assert call(ops.list_job_library(date_filter={"createdAt": {"lt": 1000}}), emulator) == []


def test_a_page_shortened_by_the_server_does_not_end_a_list(call: Caller, scripted: Any) -> None:
    def answer(path: str) -> bytes:
        offset = int(path.split("offset=")[1].split("&")[0])
        items = ",".join(f'{{"id": {i}}}' for i in range(offset + 1, min(offset + 25, 60) + 1))
        return f'{{"data": [{items}], "count": 60}}'.encode()

    server = scripted(lambda request: (200, {"content-type": "application/json"}, answer(request)))
    assert len(call(ops.list_job_library(page_size=100), server.url)) == 60


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (400, TrifactaBadRequest),
        (401, TrifactaUnauthorized),
        (403, TrifactaForbidden),
        (404, TrifactaNotFound),
        (409, TrifactaApiError),
        (410, TrifactaGone),
        (415, TrifactaUnsupportedMediaType),
        (429, TrifactaRateLimited),
        (500, TrifactaServerError),
        (503, TrifactaServerError),
        (304, TrifactaDuplicateExecution),
    ],
)
def test_typed_errors(call: Caller, emulator: Emulator, status: int, expected: type[TrifactaApiError]) -> None:
    emulator.order("getJobGroup", "status", status=status, call=None)
    with pytest.raises(TrifactaApiError) as caught:
        call(ops.get_job_group(5), emulator, budget=0)
    error = caught.value
    assert type(error) is expected
    assert (error.method, error.path, error.status) == ("GET", "/v4/jobGroups/5", status)
    assert error.request_id == emulator.journal[-1].request_id
    assert str(error.request_id) in str(error)
    if status != 304:
        assert error.message == f"Injected fault: {status}"
        assert error.message in str(error)


def test_the_api_says_what_is_wrong(call: Caller, emulator: Emulator) -> None:
    with pytest.raises(TrifactaBadRequest, match=r"No association colour in jobGroups! Valid associations are"):
        call(ops.get_job_group(call(ops.run_job_group(7), emulator)["id"], embed="colour"), emulator)


def test_tokens_switched_off_is_not_a_wrong_url(call: Caller, emulator: Emulator) -> None:
    emulator.change_settings(access_tokens_enabled=False)
    with pytest.raises(TrifactaFeatureDisabled, match="are disabled"):
        call(ops.list_api_access_tokens(), emulator)
    with pytest.raises(TrifactaNotFound) as caught:
        call(ops.get_resource("nothing", 1), emulator)
    assert type(caught.value) is TrifactaNotFound


@pytest.mark.parametrize("kind", ["reset", "cut", "html"])
@pytest.mark.parametrize("after", [True, False])
def test_reads_outlive_lost_answers(call: Caller, emulator: Emulator, kind: str, after: bool) -> None:
    identity = call(ops.run_job_group(7), emulator)["id"]
    emulator.order("getJobGroupStatus", kind, times=4, after=after)
    assert call(ops.get_job_group_status(identity), emulator) == "Complete"
    assert len(emulator.calls("getJobGroupStatus")) == 5


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_reads_outlive_ten_minutes_of_server_errors(
    call: Caller, clock: FakeClock, emulator: Emulator, status: int
) -> None:
    identity = call(ops.run_job_group(7), emulator)["id"]
    began = clock.now
    emulator.order("getJobGroupStatus", "html", status=status, times=20)
    assert call(ops.get_job_group_status(identity), emulator) == "Complete"
    assert clock.now - began > 400


def test_the_last_error_is_raised_as_itself(call: Caller, clock: FakeClock, emulator: Emulator) -> None:
    emulator.order("getCurrentPerson", "status", status=503, call=None)
    began = clock.now
    with pytest.raises(TrifactaServerError, match="503"):
        call(ops.get_current_person(), emulator, budget=100)
    assert clock.now - began <= 100


@pytest.mark.parametrize("kind", ["reset", "cut", "html", "status"])
def test_a_submit_is_never_sent_blindly_twice(call: Caller, emulator: Emulator, kind: str) -> None:
    emulator.order("runJobGroup", kind, after=True, call=None)
    with pytest.raises(TrifactaApiError):
        call(ops.run_job_group(7), emulator)
    assert len(emulator.calls("runJobGroup")) == 1
    assert len(emulator.job_groups) == 1


def test_a_submit_that_did_not_arrive_is_sent_again(call: Caller, emulator: Emulator) -> None:
    emulator.order("runJobGroup", "refuse", seconds=0.3)
    call(ops.run_job_group(7), emulator, clock=SYSTEM_CLOCK)
    assert len(emulator.job_groups) == 1


def test_a_submit_over_the_quota_waits_as_asked(call: Caller, clock: FakeClock, emulator: Emulator) -> None:
    emulator.order("runJobGroup", "rate_limit", headers={"x-retry-after": "57"})
    call(ops.run_job_group(7), emulator)
    assert clock.slept == [57.5]
    assert len(emulator.job_groups) == 1


def test_a_quota_without_headers_backs_off(call: Caller, clock: FakeClock, emulator: Emulator) -> None:
    emulator.order("runJobGroup", "rate_limit", headers={}, times=4)
    call(ops.run_job_group(7), emulator)
    assert clock.slept == [0.5, 1, 2, 4]


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410, 415])
def test_refusals_are_final(call: Caller, emulator: Emulator, status: int) -> None:
    emulator.order("getCurrentPerson", "status", status=status, call=None)
    with pytest.raises(TrifactaApiError):
        call(ops.get_current_person(), emulator)
    assert len(emulator.calls("getCurrentPerson")) == 1


def test_each_repeat_is_logged(call: Caller, emulator: Emulator, caplog: pytest.LogCaptureFixture) -> None:
    emulator.order("getCurrentPerson", "status", status=503, times=2)
    call(ops.get_current_person(), emulator)
    lines = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
    first, _hint, deadline, second = lines
    assert first.startswith("GET /v4/people/current: 503")
    assert deadline.startswith("Attempt 1 failed, next one in 0.5 s")
    assert second.startswith("Attempt 2 failed, next one in 1.0 s: GET /v4/people/current: 503")
    assert str(emulator.calls("getCurrentPerson")[0].request_id) in first


def test_a_deletion_whose_answer_was_lost_is_done(call: Caller, emulator: Emulator) -> None:
    token_id = call(ops.create_api_access_token(60), emulator)["tokenInfo"]["tokenId"]
    emulator.order("deleteApiAccessToken", "reset", after=True)
    assert call(ops.delete_api_access_token(token_id), emulator) is None
    with pytest.raises(TrifactaNotFound):
        call(ops.delete_api_access_token(token_id), emulator)


class _Replaced(StaticToken):
    """A token that has been replaced where it is kept."""

    new = ""
    rereads = 0

    def token(self) -> str:
        return self.new if type(self).rereads else self.value

    def reread(self, patience: float) -> str:
        type(self).rereads += 1
        return self.new


def test_a_replaced_token_is_read_again_once(call: Caller, emulator: Emulator) -> None:
    credential = type("Credential", (_Replaced,), {"new": emulator.token, "rereads": 0})("eyJold")
    call(ops.run_job_group(7), emulator, credential)
    assert [entry.status for entry in emulator.calls("runJobGroup")] == [401, 201]
    assert credential.rereads == 1


def test_a_refused_token_that_did_not_change_is_an_error(call: Caller, emulator: Emulator) -> None:
    with pytest.raises(TrifactaUnauthorized, match="not accepted") as caught:
        call(ops.get_current_person(), emulator, "eyJunknown")
    assert len(emulator.calls("getCurrentPerson")) == 1
    assert "eyJunknown" not in str(caught.value) + repr(caught.value)


def test_no_token_in_errors_even_when_the_server_quotes_it(call: Caller, scripted: Any) -> None:
    server = scripted(
        lambda path: (
            400,
            {},
            b'{"exception": {"name": "X", "message": "bad tok-1", "details": {"a": ["tok-1"]}}}',
        )
    )
    with pytest.raises(TrifactaBadRequest) as caught:
        call(ops.get_current_person(), server.url, "tok-1")
    assert "tok-1" not in f"{caught.value} {caught.value!r} {caught.value.details}"


def test_the_status_route_may_not_exist(call: Caller, scripted: Any) -> None:
    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        if path.endswith("/status"):
            return (
                404,
                {},
                b'{"exception": {"name": "RouteNotFoundException", "message": "This route does not exist"}}',
            )
        return 200, {}, b'{"id": 5, "status": "InProgress"}'

    assert call(ops.get_job_group_status(5), scripted(answer).url) == "InProgress"


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'"Complete"', "Complete"),
        (b'{"status": "Failed"}', "Failed"),
        (b"null", "null"),
        (b'"undefined"', "undefined"),
    ],
)
def test_status_words_survive_as_themselves(call: Caller, scripted: Any, body: bytes, status: str) -> None:
    assert call(ops.get_job_group_status(5), scripted(lambda path: (200, {}, body)).url) == status


def test_redirects_keep_the_token_at_home(call: Caller, scripted: Any) -> None:
    elsewhere = scripted(lambda path: (200, {}, b"{}"))
    away = scripted(lambda path: (302, {"location": f"{elsewhere.url}/v4/people/current"}, b""))
    with pytest.raises(TrifactaAnswerNotUnderstood, match="redirects to"):
        call(ops.get_current_person(), away.url)
    assert elsewhere.requests == []


def test_redirects_within_the_server_are_followed_for_reads_only(call: Caller, scripted: Any) -> None:
    def answer(path: str) -> tuple[int, dict[str, str], bytes]:
        if path.startswith("/moved"):
            return 200, {}, b'{"id": 1}'
        return 307, {"location": f"/moved{path}"}, b""

    server = scripted(answer)
    assert call(ops.get_current_person(), server.url) == {"id": 1}
    with pytest.raises(TrifactaAnswerNotUnderstood, match="redirects to"):
        call(ops.run_job_group(7), server.url)
    with pytest.raises(TrifactaAnswerNotUnderstood, match="redirects to"):
        call(ops.get_current_person(), scripted(lambda path: (302, {"location": path}, b"")).url)


def test_a_server_that_never_answers(call: Caller) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(TrifactaTransportError, match="read timeout") as caught:
            call(ops.get_current_person(), url, budget=0, read_timeout=0.2)
    assert caught.value.sent


def test_nobody_listens(call: Caller, emulator: Emulator) -> None:
    with emulator.refusing_connections(), pytest.raises(TrifactaTransportError) as caught:
        call(ops.run_job_group(7), emulator, budget=0)
    assert not caught.value.sent


def test_a_path_prefix_is_kept(call: Caller) -> None:
    with Emulator(prefix="/designer/cloud") as emulator:
        assert call(ops.get_current_person(), emulator)["email"]
    assert emulator.journal[-1].status == 200


def test_booleans_ids_and_headers_on_the_wire(call: Caller, emulator: Emulator) -> None:
    with pytest.raises(TrifactaNotFound):
        call(ops.get_resource("flows", "a/b?c#d%2F ü", include_deleted=True), emulator)
    entry = emulator.journal[-1]
    assert entry.path == "/v4/flows/a%2Fb%3Fc%23d%252F%20%C3%BC"
    assert entry.query == {"includeDeleted": "true"}
    assert entry.headers["accept"] == "application/json"
    assert entry.headers["user-agent"].startswith("airflow-provider-trifacta/")


@pytest.mark.parametrize("bad", ["", "  ", ".", "..", True, None, 1.5])
def test_ids_that_would_be_another_route(bad: Any) -> None:
    with pytest.raises(TrifactaConfigurationError, match="job_group_id"):
        ops.get_job_group(bad)


def test_one_connection_for_many_calls(emulator: Emulator) -> None:
    with TrifactaClient(ClientSettings(emulator.url), emulator.token) as client:
        for _ in range(50):
            client.get_current_person()
    assert emulator.connections == 1


def test_a_pdf_appears_whole_or_not_at_all(emulator: Emulator, tmp_path: Path) -> None:
    with TrifactaClient(ClientSettings(emulator.url, retries=RetryPolicy(budget=0)), emulator.token) as client:
        profiled, unprofiled = client.run_job_group(7)["id"], client.run_job_group(11)["id"]
        target = tmp_path / "profile.pdf"
        emulator.order("getJobGroupPdfResults", "cut")
        with pytest.raises(TrifactaApiError):
            client.get_job_group_pdf_results(profiled, target)
        with pytest.raises(TrifactaBadRequest, match="does not have profiling data"):
            client.get_job_group_pdf_results(unprofiled, target)
        assert list(tmp_path.iterdir()) == []
        assert client.get_job_group_pdf_results(profiled, target) == target
    assert target.read_bytes().startswith(b"%PDF")
    assert [file.name for file in tmp_path.iterdir()] == ["profile.pdf"]


def test_a_netrc_does_not_replace_the_token(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login a password b")
    monkeypatch.setenv("NETRC", str(netrc))
    with TrifactaClient(ClientSettings(emulator.url), emulator.token) as client:
        assert client.get_current_person()["email"]


def test_methods_have_signature_and_docstring() -> None:
    import inspect

    client = TrifactaClient(ClientSettings("http://x"), "t")
    assert "job_group_id" in inspect.signature(client.get_job_group_status).parameters
    assert "getJobGroupStatus" in (client.get_job_group_status.__doc__ or "")


def test_the_emulator_runs_in_threads(emulator: Emulator) -> None:
    def work() -> None:
        with TrifactaClient(ClientSettings(emulator.url), emulator.token) as client:
            for _ in range(5):
                client.run_job_group(7)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({row["id"] for row in emulator.job_groups}) == 20
