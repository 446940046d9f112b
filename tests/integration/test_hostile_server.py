"""Servers that send what no contract has: bytes, shapes, and answers that never end."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import os
import re
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

import pytest
from support import Caller, FakeClock, FakeTaskInstance, RawServer, drain, self_signed_certificate

from airflow_provider_trifacta.airflow_support import rest_api
from airflow_provider_trifacta.api import operations as ops
from airflow_provider_trifacta.api import requests_transport
from airflow_provider_trifacta.api.access_tokens import list_tokens
from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaBadRequest,
    TrifactaDuplicateExecution,
    TrifactaError,
    TrifactaServerError,
    TrifactaSubmitOutcomeUnknown,
    TrifactaTransportError,
)
from airflow_provider_trifacta.api.procedures import Pause
from airflow_provider_trifacta.api.retries import RetryPolicy
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.api.statuses import is_success
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.sensors.job_group import TrifactaJobGroupSensor
from airflow_provider_trifacta.triggers.job_group import TrifactaJobGroupTrigger

Raw = Callable[..., RawServer]
TOKEN = 'eyJ/secret+token="with\\every<thing>'


def answer(body: bytes | str, status: str = "200 OK", *headers: bytes) -> bytes:
    body = body.encode() if isinstance(body, str) else body
    return b"".join(
        [
            f"HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n".encode(),
            *(header + b"\r\n" for header in headers),
            b"\r\n",
            body,
        ]
    )


def sends(*data: bytes) -> Callable[[socket.socket, bytes], None]:
    def respond(connection: socket.socket, _: bytes) -> None:
        for piece in data:
            connection.sendall(piece)

    return respond


def fit_for_a_log(text: str) -> bool:
    return text.encode("utf-8").decode() == text and text.isprintable() and len(text) < 10_000


# -------------------------------------------------------------------------------------------------------- odd text


@pytest.mark.parametrize(
    "word",
    [
        r'"\ud800"',
        r'"Complete\u0000"',
        r'"Complete\ud800"',
        '" Complete"',
        r'"Complete\n"',
        r'"\u202eetelpmoC"',
        '"' + "x" * 100_000 + '"',
        '["Complete"]',
        "true",
    ],
)
def test_an_odd_status_is_a_word_that_nobody_knows(call: Caller, raw: Raw, word: str) -> None:
    status = call(ops.get_job_group_status(5), raw(sends(answer(word))).url)
    assert fit_for_a_log(status)
    assert not is_success(status)


@pytest.mark.parametrize(
    "message", [r"half a pair \udc00", r"a\u0000b", r"line\nbreak \u001b[31m", "long " * 10_000], ids=range(4)
)
def test_an_odd_message_is_shown_as_a_line(call: Caller, raw: Raw, message: str) -> None:
    body = f'{{"exception": {{"name": "{message}", "message": "{message}", "details": ["{message}"]}}}}'
    server = raw(sends(answer(body, "400 Bad Request", b"x-trifacta-request-id: caf\xe9 \xff")))
    with pytest.raises(TrifactaBadRequest) as caught:
        call(ops.get_job_group(5), server.url)
    assert fit_for_a_log(str(caught.value))
    assert fit_for_a_log(caught.value.request_id or "")


@pytest.mark.parametrize(
    "location",
    [
        b"caf\xe9://\xff",
        b"http://[::1",
        b"http://user:secret@127.0.0.1:99999/x",
        b"//host:port/",
        b"\x80",
        b"",
        b"http://user:secret@elsewhere/?token=secret",
        b"\\\\elsewhere",
        b"http://" + b"a" * 5000,
    ],
)
def test_an_odd_redirect_is_not_understood(call: Caller, raw: Raw, location: bytes) -> None:
    server = raw(sends(answer("", "302 Found", b"location: " + location)))
    with pytest.raises(TrifactaAnswerNotUnderstood) as caught:
        call(ops.get_job_group(5), server.url, budget=0)
    assert fit_for_a_log(str(caught.value))
    assert "secret" not in str(caught.value)


def test_the_event_of_a_trigger_can_be_encoded(connect: Any, raw: Raw) -> None:
    body = r'{"exception": {"name": "\udc00", "message": "\u0000 \ud800", "details": {"\udfff": "\udc01"}}}'
    connect(raw(sends(answer(body, "400 Bad Request", b"x-trifacta-request-id: \xff"))).url)
    (event,) = asyncio.run(drain(TrifactaJobGroupTrigger(5, poll_interval=0.01).run()))
    assert event.payload["outcome"] == "error"
    assert fit_for_a_log(event.payload["message"])


@pytest.mark.parametrize(
    ("identity", "expected"),
    [
        ("1018", 1018),
        ('"1018"', 1018),
        (str(2**63 - 1), 2**63 - 1),
        ('"1_000"', None),
        ("true", None),
        ("7.9", None),
        ('"１０１８"', None),
        ("0", None),
        ("-1", None),
        (str(2**63), None),
        ('"7.0"', None),
        ("null", None),
        ("[7]", None),
        ('"' + "9" * 5000 + '"', None),
    ],
)
def test_ids(call: Caller, raw: Raw, identity: str, expected: int | None) -> None:
    server = raw(sends(answer(f'{{"id": {identity}, "jobs": {{}}}}', "201 Created")))
    assert call(ops.run_job_group(7), server.url).get("id") == expected


# ------------------------------------------------------------------------------------------------- calls that last


def _drip(connection: socket.socket, data: bytes, every: float = 0.1) -> None:
    for byte in data:
        connection.sendall(bytes([byte]))
        time.sleep(every)


def drips_body(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n")
    _drip(connection, b" " * 1000)


def drips_chunks(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(1000):
        _drip(connection, b"1\r\nx\r\n")


def drips_header(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\nx-slow: ")
    _drip(connection, b"x" * 1000)


def drips_gzip(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 1000\r\n\r\n")
    _drip(connection, gzip.compress(os.urandom(1000)))


def continues_for_ever(connection: socket.socket, _: bytes) -> None:
    while True:
        connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        time.sleep(0.05)


ENDLESS = [drips_body, drips_chunks, drips_header, drips_gzip, continues_for_ever]


@pytest.mark.parametrize("respond", ENDLESS)
def test_every_call_ends(call: Caller, raw: Raw, respond: Any) -> None:
    server = raw(respond)
    began = time.monotonic()
    with pytest.raises(TrifactaTransportError, match="read timeout") as caught:
        call(ops.get_job_group_status(5), server.url, budget=0, read_timeout=0.5, connect_timeout=0.5)
    assert time.monotonic() - began < 10
    assert caught.value.sent


@pytest.mark.parametrize("respond", ENDLESS)
def test_calls_of_airflow_end(raw: Raw, monkeypatch: pytest.MonkeyPatch, respond: Any) -> None:
    monkeypatch.setattr(rest_api, "_READ_TIMEOUT", 0.5)
    connection: Any = SimpleNamespace(
        conn_id="api", host=raw(respond).url, schema=None, port=None, login=None, password="hidden"
    )
    began = time.monotonic()
    assert "read timeout" in str(rest_api.AirflowApi(connection).why_not_changeable("c"))
    assert time.monotonic() - began < 10


def test_a_repeat_ends_with_the_budget(call: Caller, raw: Raw) -> None:
    calls = []

    def respond(connection: socket.socket, request: bytes) -> None:
        calls.append(request)
        if len(calls) == 1:
            connection.sendall(answer("{}", "503 Service Unavailable"))
        else:
            drips_body(connection, request)

    server = raw(respond)
    began = time.monotonic()
    with pytest.raises(TrifactaTransportError, match="read timeout"):
        call(ops.get_job_group_status(5), server.url, budget=1, read_timeout=300)
    assert time.monotonic() - began < 30


def _client(url: str, **settings: Any) -> TrifactaClient:
    return TrifactaClient(ClientSettings(url, retries=RetryPolicy(budget=0), **settings), TOKEN, clock=FakeClock())


def test_a_download_lasts_as_long_as_it_gets_on(raw: Raw, tmp_path: Path) -> None:
    def respond(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/pdf\r\ncontent-length: 655360\r\n\r\n")
        for _ in range(10):
            connection.sendall(b"%PDF-" + b"x" * 65531)
            time.sleep(0.15)

    path = _client(raw(respond).url, read_timeout=1).get_job_group_pdf_results(5, tmp_path / "file")
    assert path.stat().st_size == 655360


@pytest.mark.parametrize("respond", ENDLESS)
def test_a_download_that_does_not_get_on_ends(raw: Raw, tmp_path: Path, respond: Any) -> None:
    with pytest.raises(TrifactaTransportError, match="read timeout"):
        _client(raw(respond).url, read_timeout=0.5).get_job_group_pdf_results(5, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []


# -------------------------------------------------------------------------------------------------- size and lists


def _zipped(size: int) -> bytes:
    compressed = gzip.compress(b" " * size)
    return answer(compressed, "200 OK", b"content-encoding: gzip")


def test_a_small_answer_that_becomes_large(call: Caller, raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    import tracemalloc

    bomb = _zipped(300 * 1024 * 1024)
    assert len(bomb) < 400_000
    server = raw(sends(bomb))
    tracemalloc.start()
    with pytest.raises(TrifactaAnswerNotUnderstood, match="larger than"):
        call(ops.get_job_group(5), server.url, budget=0)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 150 * 1024 * 1024


def test_an_answer_without_end(call: Caller, raw: Raw) -> None:
    def respond(connection: socket.socket, _: bytes) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        while True:
            connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")

    with pytest.raises(TrifactaAnswerNotUnderstood, match="larger than"):
        call(ops.get_job_group(5), raw(respond).url, budget=0)


@pytest.mark.parametrize("body", [b" " * 2**26, b"not gzip"], ids=["huge", "odd"])
def test_a_server_error_with_a_body_that_cannot_be_used_is_outlived(call: Caller, raw: Raw, body: bytes) -> None:
    def respond(connection: socket.socket, _: bytes) -> None:
        if len(server.requests) < 4:
            encoding = [] if len(body) > 100 else [b"content-encoding: gzip"]
            connection.sendall(answer(body, "502 Bad Gateway", *encoding))
        else:
            connection.sendall(answer('"Complete"'))

    server = raw(respond)
    assert call(ops.get_job_group_status(5), server.url) == "Complete"


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "identity", ""])
def test_answers_may_be_compressed(call: Caller, raw: Raw, encoding: str) -> None:
    plain = json.dumps({"id": 5, "name": "x" * 200_000}).encode()
    body = gzip.compress(plain[:1000]) + gzip.compress(plain[1000:]) if "gzip" in encoding else plain
    server = raw(sends(answer(body, "200 OK", *([f"content-encoding: {encoding}".encode()] if encoding else []))))
    assert len(call(ops.get_job_group(5), server.url)["name"]) == 200_000
    assert b"accept-encoding: gzip\r\n" in server.requests[0].lower()


@pytest.mark.parametrize(
    ("body", "encoding", "problem"),
    [
        (b"not gzip", b"gzip", "gzip"),
        (b"{}", b"br", "content encoding"),
        (gzip.compress(b"{}" * 999)[:-9], b"gzip", "truncated"),
    ],
    ids=["no gzip", "br", "cut"],
)
def test_odd_encodings(call: Caller, raw: Raw, body: bytes, encoding: bytes, problem: str) -> None:
    with pytest.raises(TrifactaApiError, match=problem):
        call(
            ops.get_job_group(5),
            raw(sends(answer(body, "200 OK", b"content-encoding: " + encoding))).url,
            budget=0,
        )


def test_a_server_that_ignores_the_offset(call: Caller, raw: Raw) -> None:
    page = json.dumps({"data": [{"id": i} for i in range(1, 101)], "count": 10**9})
    server = raw(sends(answer(page)))
    assert len(call(ops.list_job_library(), server.url)) == 100
    assert len(server.requests) == 2


def test_a_list_without_end(call: Caller, raw: Raw, monkeypatch: pytest.MonkeyPatch) -> None:
    def respond(connection: socket.socket, request: bytes) -> None:
        offset = int(request.split(b"offset=")[1].split(b"&")[0])
        connection.sendall(answer(json.dumps({"data": [{"id": offset + 1}], "count": offset + 2})))

    listing = ops.list_job_library()
    object.__setattr__(listing, "max_pages", 20)
    server = raw(respond)
    with pytest.raises(TrifactaAnswerNotUnderstood, match="not ended after 20 pages"):
        call(listing, server.url)
    assert len(server.requests) == 20


# ------------------------------------------------------------------------------------------------------ odd shapes


@pytest.mark.parametrize("row", [{"wrangledDataset": {"id": 8}}, {"wrangledDataset": {"id": 7}}, {}])
def test_a_lost_submit_is_not_looked_for_in_a_list_without_end(connect: Any, raw: Raw, row: Any) -> None:
    def respond(connection: socket.socket, request: bytes) -> bool | None:
        if request.startswith(b"POST"):
            return False
        offset = int((request.split(b"offset=")[1:] or [b"0&"])[0].split(b"&")[0])
        rows = [{"id": 1 + offset + number, **row} for number in range(100)]
        connection.sendall(answer(json.dumps({"id": 17, "data": rows, "count": 10**9})))
        return None

    server = raw(respond)
    connect(server.url)
    with pytest.raises(TrifactaSubmitOutcomeUnknown, match=r"not ended after|looked up"):
        TrifactaHook(clock=FakeClock()).submit_job_group(7)
    assert sum(request.startswith(b"POST") for request in server.requests) == 1
    assert len(server.requests) < 200


ODD_JSON = [
    b"[" * 100_000,
    b'{"a":' * 100_000,
    b"1e999",
    b"9" * 10_000,
    b"NaN",
    b"[Infinity]",
    b"\xff\xfe",
    b"{",
    b"",
    b'{"id": 1' + b"0" * 5000 + b"}",
    b"[" * 200 + b"]" * 200,
]


@pytest.mark.parametrize("body", ODD_JSON, ids=range(len(ODD_JSON)))
def test_what_is_no_json_is_outlived(call: Caller, raw: Raw, body: bytes) -> None:
    served: list[bytes] = []

    def respond(connection: socket.socket, request: bytes) -> None:
        served.append(request)
        connection.sendall(answer(body if len(served) < 4 else b'{"id": 5}'))

    assert call(ops.get_job_group(5), raw(respond).url) == {"id": 5}
    assert len(served) == 4


READS: dict[str, Any] = {
    "job group": ops.get_job_group(5),
    "jobs": ops.get_jobs_for_job_group(5),
    "inputs": ops.get_job_group_inputs(5),
    "outputs": ops.get_job_group_outputs(5),
    "publications": ops.get_publications_for_job_group(5),
    "profile": ops.get_profiling_information_for_job_group(5),
    "library": ops.list_job_library(),
    "count": ops.count_job_library(),
    "tokens": ops.list_api_access_tokens(),
    "token": ops.get_api_access_token("a"),
    "person": ops.get_current_person(),
    "start": ops.run_job_group(7),
    "creation": ops.create_api_access_token(60),
    "flows": ops.list_resource("flows"),
    "flow": ops.get_resource("flows", 1),
}
ODD_SHAPES = [
    "null",
    "[]",
    "7",
    '"x"',
    "[[]]",
    '{"data": null}',
    '{"data": 7}',
    '{"data": {}}',
    '{"id": null}',
    '{"data": [null, 7, "x", [], {}, {"id": []}, {"id": null, "status": 7}]}',
    '{"files": 7, "tables": "x"}',
    '{"files": [7, {"uri": 7}], "tables": [null]}',
    '{"count": "7"}',
    '{"count": true}',
    '{"tokenId": 7}',
    '{"tokenValue": 7, "tokenInfo": 7}',
]


@pytest.mark.parametrize("shape", ODD_SHAPES)
@pytest.mark.parametrize("read", READS)
def test_odd_shapes_are_typed_errors_or_skipped(call: Caller, scripted: Any, read: str, shape: str) -> None:
    server = scripted(lambda path: (200, {}, shape.encode()))
    with contextlib.suppress(TrifactaAnswerNotUnderstood):
        result = call(READS[read], server.url, budget=0)
        rows = result if isinstance(result, list) else []
        assert all(isinstance(row, dict) for row in rows)


def test_members_of_other_types_are_left_out(call: Caller, scripted: Any) -> None:
    row = {
        "id": "1018",
        "status": ["Complete"],
        "creator": {"id": None},
        "flowrun": {},
        "createdAt": 7,
        "name": None,
        "undocumented": [7],
    }
    server = scripted(lambda path: (200, {}, json.dumps({"data": [row]}).encode()))
    assert call(ops.list_job_library(), server.url) == [{"id": 1018, "name": None, "undocumented": [7]}]


@pytest.mark.parametrize("date", ["9999-12-31T23:59:59-14:00", "0001-01-01T00:00:00+14:00", 7, "soon", "+1"])
def test_dates_that_overflow(raw: Raw, date: Any) -> None:
    row = {"tokenId": "a", "expiredAt": date, "createdAt": date, "lastUsed": date}
    client = _client(raw(sends(answer(json.dumps({"data": [row]}), "200 OK", b"date: Mon, 01 Jan 99999"))).url)
    (token,) = client.run(list_tokens())
    assert token.expires_at is None or token.expires_at.timestamp() > 0


@pytest.mark.parametrize("status", [501, 505, 507, 511, 520, 522, 524, 525, 529, 530, 598, 408, 425, 304])
def test_polls_outlive_every_server_error(call: Caller, emulator: Emulator, status: int) -> None:
    identity = call(ops.run_job_group(7), emulator)["id"]
    emulator.order("getJobGroupStatus", "status", status=status, times=3)
    assert call(ops.get_job_group_status(identity), emulator) == "Complete"
    assert len(emulator.calls("getJobGroupStatus")) == 4


@pytest.mark.parametrize("status", [304, 507, 529])
def test_a_submit_is_not_repeated_because_of_them(call: Caller, emulator: Emulator, status: int) -> None:
    emulator.order("runJobGroup", "status", status=status, call=None)
    with pytest.raises((TrifactaServerError, TrifactaDuplicateExecution)):
        call(ops.run_job_group(7), emulator)
    assert len(emulator.calls("runJobGroup")) == 1


# ------------------------------------------------------------------------------------------------- interim answers


@pytest.mark.parametrize(
    "interim", ["102 Processing", "103 Early Hints", "101 Switching Protocols", "199 Strange"]
)
def test_an_interim_answer_is_not_mixed_up_with_the_next(call: Caller, raw: Raw, interim: str) -> None:
    """The answer for job group 1 comes after the interim one: it must not be read for job group 2."""

    def respond(connection: socket.socket, request: bytes) -> None:
        if b"/jobGroups/1/" in request:
            connection.sendall(f"HTTP/1.1 {interim}\r\n\r\n".encode())
            time.sleep(0.2)
            connection.sendall(answer('"Complete"'))
        else:
            connection.sendall(answer('"Failed"'))

    def both() -> Iterator[Any]:
        with contextlib.suppress(TrifactaTransportError):
            assert (yield ops.get_job_group_status(1).within(0)) == "Complete"
        time.sleep(0.4)
        return (yield ops.get_job_group_status(2))

    settings = ClientSettings(raw(respond).url, read_timeout=5)
    if call.kind == "sync":
        with TrifactaClient(settings, TOKEN) as client:
            assert client.run(both()) == "Failed"  # type: ignore[arg-type]
        return

    async def asynchronous() -> str:
        from airflow_provider_trifacta.api.async_client import AsyncTrifactaClient

        async with AsyncTrifactaClient(settings, TOKEN) as client:
            return await client.run(both())  # type: ignore[arg-type]

    assert asyncio.run(asynchronous()) == "Failed"


# --------------------------------------------------------------------------------------------------------- secrets


def _forms(secret: str) -> list[str]:
    from html import escape
    from urllib.parse import quote, quote_plus

    in_json = json.dumps(secret)[1:-1]
    return [
        secret,
        quote(secret),
        quote(secret, safe=""),
        quote_plus(secret),
        re.sub("%..", lambda escape: escape[0].lower(), quote(secret, safe="")),
        in_json,
        in_json.replace("/", "\\/"),
        escape(secret),
    ]


@pytest.mark.parametrize("form", range(8))
@pytest.mark.parametrize("where", ["name", "message", "key", "id", "redirect", "text", "long", "reason", "type"])
def test_no_answer_makes_an_error_quote_the_token(call: Caller, raw: Raw, where: str, form: int) -> None:
    quoted = _forms(TOKEN)[form].encode()
    in_json = json.dumps(_forms(TOKEN)[form]).encode()
    served = {
        "name": answer(b'{"exception": {"name": %s}}' % in_json, "400 Bad Request"),
        "message": answer(b'{"exception": {"message": %s}}' % in_json, "400 Bad Request"),
        "key": answer(b'{"exception": {"details": {%s: [%s]}}}' % (in_json, in_json), "400 Bad Request"),
        "id": answer("{}", "400 Bad Request", b"x-trifacta-request-id: " + quoted),
        "redirect": answer("", "302 Found", b"location: http://elsewhere/" + quoted),
        "text": answer(b"<p>" + quoted, "400 Bad Request"),
        "long": answer(b"x" * (290 - len(quoted) // 2) + b" " + quoted + b" more"),
        "reason": b"HTTP/1.1 4" + quoted + b"\r\n\r\n",
        "type": b"HTTP/1.1 200 OK\r\ncontent-type: " + quoted + b"\r\ncontent-length: 1\r\n\r\n{",
    }[where]
    with pytest.raises(TrifactaApiError) as caught:
        call(
            ops.get_job_group(5),
            raw(lambda connection, _: connection.sendall(served) or False).url,
            TOKEN,
            budget=0,
        )
    _nothing_of(caught.value, TOKEN)


def _nothing_of(error: BaseException | None, secret: str) -> None:
    """No part of a secret that is long enough to be of use stands in an error or in what it carries with it."""
    while error is not None:
        text = f"{error} {error!r} {vars(error)}"
        for form in _forms(secret):
            assert form[:12] not in text
            assert form[-12:] not in text
        error = error.__cause__ or error.__context__


@pytest.mark.parametrize("kind", ["sync", "async"])
@pytest.mark.parametrize("environment", [True, False])
def test_no_error_quotes_the_password_of_a_proxy(
    raw: Raw, monkeypatch: pytest.MonkeyPatch, kind: str, environment: bool
) -> None:
    password = "pr0xy pass/word"
    body = f"cannot log in with {password} or pr0xy%20pass%2Fword".encode()
    proxy = raw(sends(answer(body, "407 Proxy Authentication Required")))
    url = proxy.url.replace("http://", "http://user:pr0xy%20pass%2Fword@")
    settings: dict[str, Any] = {} if environment else {"proxy": url}
    if environment:
        monkeypatch.setenv("http_proxy", url)
    caller = Caller(kind, FakeClock())
    with pytest.raises(TrifactaApiError, match=r"cannot log in with \*\*\*") as caught:
        caller(ops.get_job_group(5), "http://trifacta.example.com", TOKEN, budget=0, **settings)
    assert "pass" not in f"{caught.value}{caught.value!r}{ClientSettings('http://x.example', **settings)!r}"
    assert b"authorization: basic" in proxy.requests[0].lower()


@pytest.mark.parametrize(
    "served",
    [
        answer('{"tokenValue": "eyJnew-token-value-1234567890", "tokenInfo"', "201 Created"),
        answer('{"tokenValue": "eyJnew-token-value-1234567890"}', "201 Created"),
        answer('["eyJnew-token-value-1234567890"]', "201 Created"),
        answer('{"tokenValue": "eyJnew-token-value-1234567890"}', "500 Internal Server Error"),
        answer('{"exception": {"message": "made eyJnew-token-value-1234567890"}}', "400 Bad Request"),
        answer("<html>eyJnew-token-value-1234567890", "200 OK"),
    ],
    ids=range(6),
)
def test_an_answer_that_may_hold_a_new_token_is_not_quoted(call: Caller, raw: Raw, served: bytes) -> None:
    with pytest.raises(TrifactaApiError) as caught:
        call(ops.create_api_access_token(60), raw(sends(served)).url, budget=0)
    _nothing_of(caught.value, "eyJnew-token-value-1234567890")


def test_a_new_token_is_not_quoted_afterwards(raw: Raw) -> None:
    new = "eyJnew-token-value-1234567890"

    def respond(connection: socket.socket, request: bytes) -> None:
        if request.startswith(b"POST"):
            info = {"tokenId": "a"}
            connection.sendall(answer(json.dumps({"tokenValue": new, "tokenInfo": info}), "201 Created"))
        else:
            connection.sendall(answer(f"{new} was made", "404 Not Found"))

    client = _client(raw(respond).url)
    assert client.create_api_access_token(60)["tokenValue"] == new
    with pytest.raises(TrifactaApiError) as caught:
        client.get_api_access_token("a")
    _nothing_of(caught.value, new)


def test_data_that_quotes_the_token_does_not(call: Caller, scripted: Any) -> None:
    """A job's message goes into an event and a log."""
    server = scripted(lambda path: (200, {}, json.dumps({"id": 5, "name": f"with {TOKEN}"}).encode()))
    assert call(ops.get_job_group(5), server.url, TOKEN)["name"] == "with ***"


# ----------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize(
    "served",
    [
        answer("", "202 Accepted"),
        answer("", "204 No Content"),
        answer("{}", "206 Partial Content"),
        b"HTTP/1.1 200 OK\r\ncontent-type: application/pdf\r\ncontent-length: 99\r\n\r\n%PDF",
        b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 6\r\n\r\n<html>",
    ],
    ids=["202", "204", "206", "cut", "html"],
)
def test_a_file_appears_whole_or_not_at_all(raw: Raw, tmp_path: Path, served: bytes) -> None:
    kept = tmp_path / "file"
    kept.write_text("kept")
    server = raw(lambda connection, _: connection.sendall(served) or False)
    with pytest.raises(TrifactaApiError):
        _client(server.url).get_job_group_pdf_results(5, kept)
    assert [path.read_text() for path in tmp_path.iterdir()] == ["kept"]


def test_what_an_earlier_attempt_left_is_not_in_the_file(raw: Raw, tmp_path: Path) -> None:
    def respond(connection: socket.socket, _: bytes) -> bool:
        whole = len(server.requests) > 1
        body = b"%PDF-whole" if whole else b"%PDF-longer-but-cut"
        connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-type: application/pdf\r\n")
        connection.sendall(f"content-length: {len(body) + (0 if whole else 9)}\r\n\r\n".encode() + body)
        return False

    server = raw(respond)
    client = TrifactaClient(ClientSettings(server.url), TOKEN, clock=FakeClock())
    assert client.get_job_group_pdf_results(5, tmp_path / "file").read_bytes() == b"%PDF-whole"


def test_a_full_disk_is_not_the_servers_fault(raw: Raw) -> None:
    server = raw(sends(b"HTTP/1.1 200 OK\r\ncontent-length: 200000\r\n\r\n" + b"x" * 200_000))
    client = TrifactaClient(ClientSettings(server.url), TOKEN, clock=FakeClock())
    with pytest.raises(OSError, match="No such file"):
        client.get_job_group_pdf_results(5, "/nowhere/file")
    assert server.requests == []


# ------------------------------------------------------------------------------------------------- what stays ours


def test_netrc_and_cookies_never_replace_the_token(
    call: Caller, raw: Raw, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password other")
    monkeypatch.setenv("NETRC", str(netrc))
    server = raw(sends(answer('{"id": 5}', "200 OK", b"set-cookie: session=other")))
    for _ in range(2):
        call(ops.get_current_person(), server.url, TOKEN)
    connection: Any = SimpleNamespace(
        conn_id="api", host=server.url, schema=None, port=None, login=None, password="airflow-token"
    )
    rest_api.AirflowApi(connection).why_not_changeable("c")
    sent = [request.decode().lower() for request in server.requests]
    assert all(f"authorization: bearer {TOKEN}".lower() in request for request in sent[:2])
    assert "authorization: bearer airflow-token" in sent[2]
    assert not any("cookie" in request for request in sent)


def test_the_socket_is_read_in_time_behind_a_closing_connection(raw: Raw) -> None:
    """``Connection: close`` makes http.client give its socket up before the body is read."""
    served = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 8\r\n\r\n"

    def respond(connection: socket.socket, _: bytes) -> bool:
        connection.sendall(served)
        time.sleep(0.1)
        connection.sendall(b'"Failed"')
        return False

    assert _client(raw(respond).url).get_job_group_status(5) == "Failed"
    assert getattr(requests_transport._present, "deadline", None) is None


def test_no_error_of_the_library_comes_through(call: Caller, raw: Raw) -> None:
    for served in [
        b"\x00" * 100,
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x: y\r\n" * 1000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\xff\xfe: \x80\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/9.9 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: 1_0\r\n\r\n" + b"{}" * 5,
    ]:
        server = raw(lambda connection, _, served=served: connection.sendall(served) or False)
        with pytest.raises(TrifactaError) as caught:
            call(ops.get_job_group(5), server.url, budget=0, read_timeout=2)
        assert fit_for_a_log(str(caught.value))


# --------------------------------------------------------------------------------------- what an attack has found


@pytest.mark.parametrize(
    "created",
    ["{}", '{"id": 5.0}', '{"id": " 5 "}', '{"id": "aaaa-1"}', '{"id": 0}', '{"id": 5', "created", "<html>"],
)
@pytest.mark.parametrize("listed", [[], [{"id": 5.0}], [{"jobGroup": {"id": 5}}]], ids=["lag", "float", "wrapped"])
def test_a_201_is_never_submitted_beside(connect: Any, raw: Raw, created: str, listed: Any) -> None:
    def respond(connection: socket.socket, request: bytes) -> None:
        if request.startswith(b"POST"):
            connection.sendall(answer(created, "201 Created"))
        else:
            connection.sendall(answer(json.dumps({"id": 17, "data": listed, "count": len(listed)})))

    server = raw(respond)
    connect(server.url)
    with pytest.raises(TrifactaSubmitOutcomeUnknown):
        TrifactaHook(clock=FakeClock()).submit_job_group(7)
    assert sum(request.startswith(b"POST") for request in server.requests) == 1


@pytest.mark.parametrize("delay", [0, 0.05])
def test_an_answer_that_nobody_asked_for_is_nobodys(call: Caller, raw: Raw, delay: float) -> None:
    def respond(connection: socket.socket, _: bytes) -> None:
        connection.sendall(answer('"InProgress"'))
        time.sleep(delay)
        connection.sendall(answer('"Complete"'))

    settings = ClientSettings(raw(respond).url, read_timeout=5)

    def polls() -> Iterator[Any]:
        words = []
        for _ in range(3):
            words.append((yield ops.get_job_group_status(5)))
            yield Pause(0.1)
        return words

    if call.kind == "sync":
        with TrifactaClient(settings, TOKEN) as client:
            assert client.run(polls()) == ["InProgress"] * 3  # type: ignore[arg-type]
        return

    async def asynchronous() -> Any:
        from airflow_provider_trifacta.api.async_client import AsyncTrifactaClient

        async with AsyncTrifactaClient(settings, TOKEN) as client:
            return await client.run(polls())  # type: ignore[arg-type]

    assert asyncio.run(asynchronous()) == ["InProgress"] * 3


@pytest.mark.parametrize("body", [{TOKEN: "x"}, {"status": {TOKEN: 1}}, {"status": [TOKEN]}])
def test_a_status_quotes_no_token(call: Caller, scripted: Any, body: Any) -> None:
    server = scripted(lambda path: (200, {}, json.dumps(body).encode()))
    assert "secret" not in call(ops.get_job_group_status(5), server.url, TOKEN)


def test_many_small_values_are_too_many(call: Caller, raw: Raw) -> None:
    body = b'{"data":[' + b"[]," * 3_000_000 + b"0]}"
    server = raw(sends(answer(gzip.compress(body), "200 OK", b"content-encoding: gzip")))
    began = time.monotonic()
    with pytest.raises(TrifactaAnswerNotUnderstood):
        call(ops.get_jobs_for_job_group(5), server.url, budget=0)
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("status", ["404 Not Found", "410 Gone"])
def test_the_page_of_a_proxy_deletes_nothing(call: Caller, raw: Raw, status: str) -> None:
    def respond(connection: socket.socket, _: bytes) -> None:
        first = len(server.requests) == 1
        connection.sendall(answer("<html>no such app", "503 Service Unavailable" if first else status))

    server = raw(respond)
    with pytest.raises(TrifactaApiError):
        call(ops.delete_api_access_token("a"), server.url, budget=5)


@pytest.mark.parametrize(
    "odd",
    [
        "302 Found",
        "300 Multiple Choices",
        "404 Not Found",
        "403 Forbidden",
        "400 Bad Request",
        "407 Proxy",
        "409 C",
        "421 Misdirected",
        "431 Too Large",
        "499 Closed",
        "401 Unauthorized",
    ],
)
@pytest.mark.parametrize("deferred", [True, False])
def test_a_page_of_a_gateway_does_not_end_a_wait(connect: Any, raw: Raw, odd: str, deferred: bool) -> None:
    def respond(connection: socket.socket, request: bytes) -> None:
        polls = sum(b"/status" in request for request in server.requests)
        if b"/status" not in request:
            connection.sendall(answer('{"id": 5}'))
        elif polls == 2:
            connection.sendall(answer("<html>at work", odd, b"location: http://elsewhere/maintenance"))
        else:
            connection.sendall(answer('"Complete"' if polls > 3 else '"InProgress"'))

    server = raw(respond)
    connect(server.url, retry_budget=30)
    if deferred:
        with mock.patch.object(
            TrifactaJobGroupTrigger, "_hook", property(lambda _: TrifactaHook(clock=FakeClock()))
        ):
            (event,) = asyncio.run(drain(TrifactaJobGroupTrigger(5, poll_interval=0.01).run()))
        assert event.payload["status"] == "Complete"
        return
    client = TrifactaHook(clock=FakeClock()).client
    assert [client.get_job_group_status(5) for _ in range(3)] == ["InProgress", "InProgress", "Complete"]


def test_a_wrong_base_url_is_said_at_once(call: Caller, raw: Raw) -> None:
    server = raw(sends(answer("<html>no such page", "404 Not Found")))
    with pytest.raises(TrifactaApiError):
        call(ops.get_job_group_status(5), server.url)
    assert len(server.requests) == 1


def drips_small_chunks(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(100):
        connection.sendall(b"1\r\nx\r\n")
        time.sleep(0.1)


def drips_empty_members(connection: socket.socket, _: bytes) -> None:
    connection.sendall(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ntransfer-encoding: chunked\r\n\r\n")
    for _ in range(100):
        member = gzip.compress(b"")
        connection.sendall(f"{len(member):x}\r\n".encode() + member + b"\r\n")
        time.sleep(0.1)


@pytest.mark.parametrize("respond", [drips_small_chunks, drips_empty_members])
def test_a_download_that_hardly_gets_on_ends(raw: Raw, tmp_path: Path, respond: Any) -> None:
    began = time.monotonic()
    with pytest.raises(TrifactaTransportError, match="read timeout"):
        _client(raw(respond).url, read_timeout=0.5).get_job_group_pdf_results(5, tmp_path / "file")
    assert time.monotonic() - began < 5
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("most", "count"),
    [
        *((100, count) for count in (-1, 0, 1, 100)),
        *((50, count) for count in (-1, "250", 250.0, None, True, "many")),
    ],
)
def test_counts_that_lie_cut_no_list_short(call: Caller, raw: Raw, count: Any, most: int) -> None:
    def respond(connection: socket.socket, request: bytes) -> None:
        offset = int(request.split(b"offset=")[1].split(b"&")[0])
        rows = [{"id": number} for number in range(offset + 1, min(offset + most, 250) + 1)]
        connection.sendall(answer(json.dumps({"data": rows, "count": count})))

    assert len(call(ops.list_job_library(), raw(respond).url)) == 250


def test_rows_without_ids_of_a_server_that_ignores_the_offset(call: Caller, raw: Raw) -> None:
    server = raw(sends(answer(json.dumps({"data": [{"name": "x"}] * 100, "count": 10**9}))))
    assert len(call(ops.list_resource("flows", fields="name"), server.url)) == 200
    assert len(server.requests) == 2


def test_a_redirect_replaces_no_credential(call: Caller, raw: Raw) -> None:
    def respond(connection: socket.socket, _: bytes) -> None:
        location = server.url.replace("http://", "http://user:pw@").encode() + b"/other"
        connection.sendall(answer("", "302 Found", b"location: " + location))

    server = raw(respond)
    with pytest.raises(TrifactaAnswerNotUnderstood, match="redirects"):
        call(ops.get_job_group(5), server.url, TOKEN)
    assert len(server.requests) == 1


def test_the_header_that_a_proxy_is_sent_is_not_quoted(call: Caller, raw: Raw) -> None:
    from base64 import b64encode

    sent = b64encode(b"user:hidden-pw").decode()
    proxy = raw(sends(answer(f"you sent Basic {sent}", "407 Proxy Authentication Required")))
    url = proxy.url.replace("http://", "http://user:hidden-pw@")
    with pytest.raises(TrifactaApiError, match=r"you sent Basic \*\*\*"):
        call(ops.get_job_group(5), "http://trifacta.example.com", TOKEN, budget=0, proxy=url)


def test_an_id_that_holds_the_new_token_is_none(call: Caller, raw: Raw) -> None:
    value = "eyJnew-token-value-1234567890"
    body = json.dumps({"tokenValue": value, "tokenInfo": {"tokenId": f"id-{value}"}})
    with pytest.raises(TrifactaAnswerNotUnderstood) as caught:
        call(ops.create_api_access_token(60), raw(sends(answer(body, "201 Created"))).url)
    _nothing_of(caught.value, value)


def test_the_http_library_logs_no_token(raw: Raw, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    served = f"HTTP/1.1 200 OK\r\ncontent-length: 10\r\nthe token {TOKEN} has no colon\r\n\r\n" + '"Complete"'
    with contextlib.suppress(TrifactaError):
        _client(raw(sends(served.encode())).url, read_timeout=1).get_job_group_status(5)
    assert "secret" not in caplog.text


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_sensor_ends_with_its_timeout(connect: Any, raw: Raw, mode: str) -> None:
    connect(raw(sends(answer("{}", "503 Service Unavailable"))).url, retry_budget=900)
    sensor = TrifactaJobGroupSensor(task_id="wait", job_group_id=5, timeout=2, poke_interval=1, mode=mode)
    began = time.monotonic()
    assert sensor.poke({"ti": FakeTaskInstance()}) is False
    assert time.monotonic() - began < 6


def test_tls_within_the_tls_of_a_proxy_ends(call: Caller, tmp_path: Path) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(self_signed_certificate(tmp_path))
    listening = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), server_side=True)

    def proxy() -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listening.accept()
                threading.Thread(target=drip, args=(connection,), daemon=True).start()

    def drip(connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n\x16\x03\x03\x40\x00")
            _drip(connection, b"\2" * 300)

    threading.Thread(target=proxy, daemon=True).start()
    began = time.monotonic()
    try:
        with pytest.raises(TrifactaTransportError):
            call(
                ops.get_job_group(5),
                "https://trifacta.example.com",
                budget=0,
                proxy=f"https://127.0.0.1:{listening.getsockname()[1]}",
                verify=False,
                read_timeout=1,
                connect_timeout=1,
            )
    finally:
        listening.close()
    assert time.monotonic() - began < 10


@pytest.mark.parametrize(("body", "whole"), [(b"%PDF-1.4 half of it", False), (b"%PDF-1.4 all\n%%EOF\n", True)])
def test_a_pdf_that_does_not_say_its_length_has_an_end(raw: Raw, tmp_path: Path, body: bytes, whole: bool) -> None:
    served = b"HTTP/1.0 200 OK\r\ncontent-type: application/pdf\r\n\r\n" + body
    client = _client(raw(lambda connection, _: connection.sendall(served) or False).url)
    if whole:
        assert client.get_job_group_pdf_results(5, tmp_path / "file").read_bytes() == body
        return
    with pytest.raises(TrifactaAnswerNotUnderstood):
        client.get_job_group_pdf_results(5, tmp_path / "file")
    assert list(tmp_path.iterdir()) == []
