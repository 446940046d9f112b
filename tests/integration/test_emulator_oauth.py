"""The token endpoint of the emulator, the tokens it gives out, and the page on which pairs are generated."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.parse
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import requests
from test_emulator_hardening import Sent

from airflow_provider_trifacta.emulator import Emulator, access
from airflow_provider_trifacta.emulator.clock import Clock
from airflow_provider_trifacta.emulator.oauth import OAuthSettings
from airflow_provider_trifacta.emulator.token_store import EmulatorTokenStore

FORM = "application/x-www-form-urlencoded"
DAY = 86400


class Token:
    """The connection that a token store is made for."""

    def __init__(self, emulator: Emulator) -> None:
        self.host, self.password = emulator.url, emulator.token


def _post(emulator: Emulator, refresh_token: str, **fields: str | None) -> requests.Response:
    form = {
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
        "client_id": emulator.oauth_client_id,
        **fields,
    }
    return requests.post(
        emulator.oauth_token_url, {name: value for name, value in form.items() if value is not None}, timeout=10
    )


def _refreshed(emulator: Emulator, refresh_token: str) -> dict[str, Any]:
    answer = _post(emulator, refresh_token)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def _refused(answer: requests.Response | Sent, status: int, error: str) -> None:
    body = answer.json() if isinstance(answer, requests.Response) else json.loads(answer.body)
    assert (answer.status_code if isinstance(answer, requests.Response) else answer.status, body["error"]) == (
        status,
        error,
    )
    assert isinstance(body["error_description"], str)
    assert answer.headers["cache-control"] == "no-store"


def _person(emulator: Emulator, access_token: str) -> requests.Response:
    return requests.get(
        f"{emulator.url}/v4/people/current", headers={"Authorization": f"Bearer {access_token}"}, timeout=10
    )


# ---------------------------------------------------------------------------------------------------- refreshing


def test_a_pair_works_and_every_refresh_replaces_it(emulator: Emulator) -> None:
    pair = emulator.generate_oauth_pair()
    assert pair.access_token not in repr(pair)
    assert pair.refresh_token not in repr(pair)
    assert _person(emulator, pair.access_token).json()["id"] == 17
    refresh_token, access_tokens = pair.refresh_token, [pair.access_token]
    for _ in range(3):
        answer = _post(emulator, refresh_token)
        assert answer.status_code == 200
        assert answer.headers["cache-control"] == "no-store"
        body = answer.json()
        assert set(body) == {"access_token", "refresh_token", "expires_in", "token_type", "scope"}
        assert (body["expires_in"], body["token_type"]) == (300, "Bearer")
        assert body["refresh_token"] != refresh_token
        assert not emulator.oauth_refresh_token_works(refresh_token)
        assert emulator.oauth_refresh_token_works(body["refresh_token"])
        refresh_token = body["refresh_token"]
        access_tokens.append(body["access_token"])
    assert len(set(access_tokens)) == 4
    for access_token in access_tokens:
        assert emulator.oauth_access_token_works(access_token)
        assert _person(emulator, access_token).status_code == 200


def test_an_access_token_looks_like_one(emulator: Emulator) -> None:
    token = emulator.generate_oauth_pair().access_token
    assert token.startswith("eyJ")
    _, payload, signature = token.split(".")
    assert signature
    read = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert read["client_id"] == emulator.oauth_client_id == str(uuid.UUID(read["client_id"]))
    assert f"{read['iss']}/token" == emulator.oauth_token_url
    assert read["exp"] - read["iat"] in (299, 300, 301)
    assert {"jti", "sub"} <= set(read)


def test_a_spent_token_that_is_sent_again_ends_its_family_only(emulator: Emulator) -> None:
    pair, other = emulator.generate_oauth_pair(), emulator.generate_oauth_pair()
    new = _refreshed(emulator, pair.refresh_token)
    _refused(_post(emulator, pair.refresh_token), 400, "invalid_grant")
    _refused(_post(emulator, new["refresh_token"]), 400, "invalid_grant")
    for access_token in (pair.access_token, new["access_token"]):
        assert not emulator.oauth_access_token_works(access_token)
        assert _person(emulator, access_token).status_code == 401
    assert emulator.oauth_refresh_token_works(other.refresh_token)
    assert _person(emulator, other.access_token).status_code == 200


def test_reuse_may_be_harmless(emulator: Emulator) -> None:
    emulator.change_settings(oauth_revoke_family_on_reuse=False)
    pair = emulator.generate_oauth_pair()
    new = _refreshed(emulator, pair.refresh_token)
    _refused(_post(emulator, pair.refresh_token), 400, "invalid_grant")
    assert _person(emulator, new["access_token"]).status_code == 200
    _refreshed(emulator, new["refresh_token"])


def test_of_simultaneous_refreshes_one_succeeds(emulator: Emulator) -> None:
    emulator.change_settings(oauth_revoke_family_on_reuse=False)
    value = emulator.generate_oauth_pair().refresh_token
    assert sorted(_at_once(lambda _: _post(emulator, value).status_code, 8)) == [200] + [400] * 7


def _at_once(work: Callable[[int], Any], times: int) -> list[Any]:
    barrier = threading.Barrier(times)

    def begin(number: int) -> Any:
        barrier.wait(timeout=10)
        return work(number)

    with ThreadPoolExecutor(times) as pool:
        return list(pool.map(begin, range(times)))


def test_a_refresh_may_end_the_access_token_before(emulator: Emulator) -> None:
    emulator.change_settings(oauth_revoke_previous_access_token=True)
    pair, other = emulator.generate_oauth_pair(), emulator.generate_oauth_pair()
    new = _refreshed(emulator, pair.refresh_token)
    assert _person(emulator, pair.access_token).status_code == 401
    for access_token in (new["access_token"], other.access_token):
        assert _person(emulator, access_token).status_code == 200


def test_a_refresh_may_return_no_refresh_token(emulator: Emulator) -> None:
    emulator.change_settings(oauth_returns_refresh_token=False)
    value = emulator.generate_oauth_pair().refresh_token
    for _ in range(2):
        body = _refreshed(emulator, value)
        assert "refresh_token" not in body
        assert _person(emulator, body["access_token"]).status_code == 200
    assert emulator.oauth_refresh_token_works(value)


@pytest.mark.parametrize(("word", "expected"), [("number", 3), ("text", "3"), ("missing", None)])
def test_how_long_is_written_as_ordered(emulator: Emulator, word: str, expected: int | str | None) -> None:
    emulator.change_settings(oauth_access_seconds=3.9, oauth_expires_in=word)
    body = _refreshed(emulator, emulator.generate_oauth_pair().refresh_token)
    assert body.get("expires_in") == expected
    assert ("expires_in" in body) == (word != "missing")


# ---------------------------------------------------------------------------------------------------------- ends


@pytest.fixture
def still() -> Iterator[Emulator]:
    """Start a server whose time only passes when it is told to."""
    with Emulator(enforce_quotas=False, clock=Clock(lambda: 1_800_000_000.25)) as running:
        yield running


def test_access_tokens_end(still: Emulator) -> None:
    pair = still.generate_oauth_pair()
    still.clock.advance(299)
    still.change_settings(oauth_access_seconds=3)
    new = _refreshed(still, pair.refresh_token)["access_token"]
    assert _person(still, pair.access_token).status_code == 200
    still.clock.advance(1)
    answer = _person(still, pair.access_token)
    assert (answer.status_code, answer.json()["exception"]["name"]) == (401, "UnauthorizedException")
    assert answer.json()["exception"]["details"] == "The access token has expired"
    assert not still.oauth_access_token_works(pair.access_token)
    assert _person(still, new).status_code == 200
    still.clock.advance(2)
    assert _person(still, new).status_code == 401


def test_refresh_tokens_keep_the_end_of_the_first(still: Emulator) -> None:
    value = still.generate_oauth_pair(refresh_token_days=2).refresh_token
    still.clock.advance(1.5 * DAY)
    value = _refreshed(still, value)["refresh_token"]
    still.clock.advance(0.5 * DAY - 1)
    value = _refreshed(still, value)["refresh_token"]
    assert still.oauth_refresh_token_works(value)
    still.clock.advance(1)
    assert not still.oauth_refresh_token_works(value)
    _refused(_post(still, value), 400, "invalid_grant")


@pytest.mark.parametrize("days", [0, 366, -1, 1.5, True, "7", None])
def test_how_many_days_are_possible(emulator: Emulator, days: Any) -> None:
    with pytest.raises(ValueError, match="refresh_token_days: not a whole number from 1 to 365"):
        emulator.generate_oauth_pair(refresh_token_days=days)


def test_a_disabled_family_is_lost(emulator: Emulator) -> None:
    pair = emulator.generate_oauth_pair()
    new = _refreshed(emulator, pair.refresh_token)
    emulator.disable_oauth_family(pair.access_token)
    assert _person(emulator, new["access_token"]).status_code == 401
    _refused(_post(emulator, new["refresh_token"]), 400, "invalid_grant")
    with pytest.raises(ValueError, match="not an OAuth token"):
        emulator.disable_oauth_family("unknown")


def test_asking_whether_a_token_works_changes_nothing(emulator: Emulator) -> None:
    pair = emulator.generate_oauth_pair()
    new = _refreshed(emulator, pair.refresh_token)
    for _ in range(2):
        assert not emulator.oauth_refresh_token_works(pair.refresh_token)  # spent: sending it would end the family
        assert not emulator.oauth_refresh_token_works(new["access_token"])
        assert not emulator.oauth_access_token_works(new["refresh_token"])
        assert not emulator.oauth_access_token_works("")
        assert emulator.oauth_refresh_token_works(new["refresh_token"])


# ---------------------------------------------------------------------------------------------------- on the API


def test_a_pair_acts_for_its_user(emulator: Emulator) -> None:
    person, _ = emulator.add_person("second@example.com")
    pair = emulator.generate_oauth_pair(person=person)
    assert _person(emulator, pair.access_token).json()["email"] == "second@example.com"
    new = _refreshed(emulator, pair.refresh_token)
    assert _person(emulator, new["access_token"]).json()["id"] == person


def test_a_refresh_token_is_no_access_token(emulator: Emulator) -> None:
    assert _person(emulator, emulator.generate_oauth_pair().refresh_token).status_code == 401


def test_a_server_may_accept_these_tokens_only(emulator: Emulator) -> None:
    access_token = emulator.generate_oauth_pair().access_token
    emulator.change_settings(oauth_only=True)
    answer = _person(emulator, emulator.token)
    assert (answer.status_code, answer.json()["exception"]["name"]) == (401, "UnauthorizedException")
    assert _person(emulator, access_token).status_code == 200
    authorization = f"Bearer {access_token}"
    for method in ("GET", "POST"):
        refused = Sent(emulator, method, "/v4/apiAccessTokens", b"{}", authorization=authorization)
        assert (refused.status, refused.exception["name"]) == (404, "RouteNotFoundException")
    assert Sent(emulator, "GET", "/emulator/journal").status == 200
    emulator.change_settings(oauth_only=False)
    assert _person(emulator, emulator.token).status_code == 200


def test_the_endpoint_is_not_behind_the_prefix() -> None:
    with Emulator(prefix="/tri") as emulator:
        assert emulator.oauth_token_url == emulator.url.removesuffix("/tri") + "/as/token"
        _refreshed(emulator, emulator.generate_oauth_pair().refresh_token)
        assert Sent(emulator, "POST", "/tri/as/token", b"").status == 404
        assert "/as/token" not in emulator.app.contract.document["paths"]


# -------------------------------------------------------------------------------------------------- bad requests


@pytest.mark.parametrize(
    ("fields", "status", "error"),
    [
        ({"grant_type": None}, 400, "invalid_request"),
        ({"grant_type": ""}, 400, "invalid_request"),
        ({"grant_type": "password"}, 400, "unsupported_grant_type"),
        ({"grant_type": "password", "refresh_token": None, "client_id": None}, 400, "unsupported_grant_type"),
        ({"refresh_token": None}, 400, "invalid_request"),
        ({"refresh_token": ""}, 400, "invalid_request"),
        ({"client_id": None}, 400, "invalid_request"),
        ({"client_id": ""}, 400, "invalid_request"),
        ({"client_id": str(uuid.UUID(int=1))}, 401, "invalid_client"),
        ({"client_id": "é\x00"}, 401, "invalid_client"),
        ({"refresh_token": "unknown"}, 400, "invalid_grant"),
        ({"refresh_token": "é\x00" * 1000}, 400, "invalid_grant"),
    ],
)
def test_bad_requests(emulator: Emulator, fields: dict[str, str | None], status: int, error: str) -> None:
    value = emulator.generate_oauth_pair().refresh_token
    _refused(_post(emulator, **{"refresh_token": value, **fields}), status, error)  # type: ignore[arg-type]
    assert emulator.oauth_refresh_token_works(value)


def test_an_access_token_buys_nothing(emulator: Emulator) -> None:
    _refused(_post(emulator, emulator.generate_oauth_pair().access_token), 400, "invalid_grant")


@pytest.mark.parametrize("content_type", [None, "", "application/json", "text/plain", "multipart/form-data"])
def test_wrong_content_types(emulator: Emulator, content_type: str | None) -> None:
    value = emulator.generate_oauth_pair().refresh_token
    _refused(_send(emulator, _form(emulator, value), content_type), 400, "invalid_request")
    assert emulator.oauth_refresh_token_works(value)


@pytest.mark.parametrize("content_type", [f"{FORM}; charset=utf-8", FORM.upper()])
def test_right_content_types(emulator: Emulator, content_type: str) -> None:
    value = emulator.generate_oauth_pair().refresh_token
    assert _send(emulator, _form(emulator, value), content_type).status == 200


@pytest.mark.parametrize("name", ["grant_type", "refresh_token", "client_id", "scope"])
def test_fields_that_are_there_twice(emulator: Emulator, name: str) -> None:
    value = emulator.generate_oauth_pair().refresh_token
    body = _form(emulator, value) + f"&scope=openid&{name}=x".encode()
    _refused(_send(emulator, body), 400, "invalid_request")
    assert emulator.oauth_refresh_token_works(value)


ODD_BODIES = [
    b"",
    b"&",
    b"=",
    b"\xff\xfe",
    b"\x00",
    b"refresh_token",
    b"grant_type=refresh_token&refresh_token=%FF&client_id=%FF",
    b"grant_type=refresh_token&refresh_token=%zz&client_id=%",
    b"grant_type=\xed\xa0\x80&refresh_token=%ED%A0%80",
    b"grant_type=refresh_token;refresh_token=x;client_id=y",
    b'{"grant_type": "refresh_token"}',
    b"a=1&" * 10_000,
    b"&" * 5_000_000,
    b"refresh_token=" + b"x" * 5_000_000,
    b"%00" * 100_000,
]


@pytest.mark.parametrize("number", range(len(ODD_BODIES)))
@pytest.mark.parametrize("content_type", [FORM, "application/json"])
def test_odd_bodies_are_refused(emulator: Emulator, number: int, content_type: str) -> None:
    answer = _send(emulator, ODD_BODIES[number], content_type)
    assert answer.status in (400, 401)
    assert json.loads(answer.body)["error"] in ("invalid_request", "invalid_client", "unsupported_grant_type")
    assert Sent(emulator, "GET", "/emulator/journal").status == 200
    assert len(emulator.calls("oauthToken")) == 1


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "OPTIONS"])
def test_only_posts_are_answered(emulator: Emulator, method: str) -> None:
    assert Sent(emulator, method, "/as/token").status == 404


def test_a_foreign_host_gets_no_token(emulator: Emulator) -> None:
    value = emulator.generate_oauth_pair().refresh_token
    assert _send(emulator, _form(emulator, value), host="evil.example.com").status == 403
    assert emulator.oauth_refresh_token_works(value)


def _form(emulator: Emulator, refresh_token: str) -> bytes:
    fields = {
        "grant_type": "refresh_token",
        "refresh_token": refresh_token,
        "client_id": emulator.oauth_client_id,
    }
    return urllib.parse.urlencode(fields).encode()


def _send(emulator: Emulator, body: bytes, content_type: str | None = FORM, **headers: str | None) -> Sent:
    sent = {"authorization": None, "content-type": content_type, **headers}
    return Sent(emulator, "POST", "/as/token", body, **sent)


# -------------------------------------------------------------------------------------------------------- faults


@pytest.mark.parametrize("kind", ["reset", "cut"])
def test_a_lost_answer_has_spent_the_token(emulator: Emulator, kind: str) -> None:
    value = emulator.generate_oauth_pair().refresh_token
    emulator.order("oauthToken", kind, after=True)
    with pytest.raises(requests.RequestException):
        _post(emulator, value)
    assert not emulator.oauth_refresh_token_works(value)
    _refused(_post(emulator, value), 400, "invalid_grant")
    assert [entry.fault for entry in emulator.calls("oauthToken")] == [kind, None]


def test_a_lost_request_has_not(emulator: Emulator) -> None:
    value = emulator.generate_oauth_pair().refresh_token
    emulator.order("oauthToken", "reset")
    with pytest.raises(requests.RequestException):
        _post(emulator, value)
    _refreshed(emulator, value)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("status", [400, 401, 429, 500, 503])
def test_a_status(emulator: Emulator, status: int, after: bool) -> None:
    value = emulator.generate_oauth_pair().refresh_token
    emulator.order("oauthToken", "status", status=status, after=after, headers={"retry-after": "7"})
    answer = _post(emulator, value)
    error = {429: "temporarily_unavailable", 503: "temporarily_unavailable", 500: "server_error"}
    _refused(answer, status, error.get(status, "invalid_request"))
    assert answer.headers["retry-after"] == "7"
    assert emulator.oauth_refresh_token_works(value) == (not after)


@pytest.mark.parametrize(("headers", "expected"), [(None, "45"), ({}, None), ({"retry-after": "1"}, "1")])
def test_a_rate_limit(still: Emulator, headers: dict[str, str] | None, expected: str | None) -> None:
    still.clock.advance(15)  # into a minute
    value = still.generate_oauth_pair().refresh_token
    still.order("oauthToken", "rate_limit", headers=headers, times=2)
    for _ in range(2):
        answer = _post(still, value)
        _refused(answer, 429, "temporarily_unavailable")
        assert answer.headers.get("retry-after") == expected
    _refreshed(still, value)


def test_a_page_of_a_proxy(emulator: Emulator) -> None:
    value = emulator.generate_oauth_pair().refresh_token
    emulator.order("oauthToken", "html", status=502)
    answer = _post(emulator, value)
    assert (answer.status_code, answer.headers["content-type"]) == (502, "text/html; charset=utf-8")
    _refreshed(emulator, value)


@pytest.mark.parametrize("after", [False, True])
def test_a_late_answer(emulator: Emulator, after: bool) -> None:
    value = emulator.generate_oauth_pair().refresh_token
    emulator.order("oauthToken", "delay", seconds=1.5, after=after)
    with pytest.raises(requests.Timeout):
        requests.post(
            emulator.oauth_token_url, _form(emulator, value), headers={"content-type": FORM}, timeout=0.3
        )
    if not after:
        assert emulator.oauth_refresh_token_works(value)
    # The client has given up, but the work is done nevertheless, as on a real server.
    _eventually(lambda: not emulator.oauth_refresh_token_works(value))


def _eventually(true: Callable[[], bool]) -> None:
    for _ in range(100):
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("not within 5 seconds")


def test_a_refused_connection(emulator: Emulator) -> None:
    value = emulator.generate_oauth_pair().refresh_token
    emulator.order("oauthToken", "refuse", seconds=1)
    with pytest.raises(requests.ConnectionError):
        _post(emulator, value)
    time.sleep(1.2)
    _refreshed(emulator, value)


@pytest.mark.parametrize(("kind", "family"), [("expire_token", True), ("delete_token", False)])
def test_the_refresh_token_of_a_call_may_end(emulator: Emulator, kind: str, family: bool) -> None:
    pair = emulator.generate_oauth_pair()
    emulator.order("oauthToken", kind)
    _refused(_post(emulator, pair.refresh_token), 400, "invalid_grant")
    assert not emulator.oauth_refresh_token_works(pair.refresh_token)
    assert emulator.oauth_access_token_works(pair.access_token) == family


@pytest.mark.parametrize("kind", ["expire_token", "delete_token"])
def test_the_access_token_of_a_call_may_end(emulator: Emulator, kind: str) -> None:
    pair = emulator.generate_oauth_pair()
    emulator.order("getCurrentPerson", kind)
    assert _person(emulator, pair.access_token).status_code == 401
    new = _refreshed(emulator, pair.refresh_token)
    assert _person(emulator, new["access_token"]).status_code == 200


# ------------------------------------------------------------------------------------------------------- journal


def test_the_journal_shows_what_was_asked_but_no_token(emulator: Emulator) -> None:
    pair = emulator.generate_oauth_pair()
    new = _refreshed(emulator, pair.refresh_token)
    (entry,) = emulator.calls("oauthToken")
    assert (entry.method, entry.path, entry.status) == ("POST", "/as/token", 200)
    client = emulator.oauth_client_id
    assert entry.body == f"grant_type=refresh_token&refresh_token=***&client_id={client}"
    assert entry.headers["content-type"] == FORM
    known = [*vars(pair).values(), new["access_token"], new["refresh_token"]]
    for token in (*known, "a-real-one-from-elsewhere.eyJhbGciOiJSUzI1NiJ9"):
        escaped = "".join(f"%{ord(character):02x}" for character in token)
        json_escaped = "".join(f"\\u{ord(character):04x}" for character in token)
        _send(emulator, _form(emulator, token))
        _send(emulator, f"refresh_token={escaped}&token={token}&client_id={token}".encode())
        _send(emulator, f"{token}={token}&grant_type={token}&scope={token}".encode())
        _send(emulator, json.dumps({"refresh_token": token}).encode(), "application/json")
        _send(emulator, token.encode(), "text/plain")
        Sent(emulator, "POST", f"/as/token?refresh_token={token}&{token}=1&grant_type={escaped}", b"")
        if token in known:  # what is sent elsewhere can only be recognized
            _person(emulator, token)
            Sent(emulator, "POST", "/v4/flows", json.dumps({"name": f"a {token}"}).encode())
            Sent(emulator, "POST", "/v4/flows", f'{{"name": "{json_escaped}"}}'.encode())
            Sent(emulator, "GET", f"/v4/flows/{token}?filter={escaped}&{token}=1")
            Sent(emulator, "GET", "/v4/flows", **{"user-agent": token, "x-execution-id": token})
            Sent(emulator, "POST", "/nothing", token.encode())
        shown = Sent(emulator, "GET", "/emulator/journal").body.decode()
        for form in (token, escaped, token[:20]):
            assert form.lower() not in shown.lower() + repr(emulator.journal).lower()


def test_the_journal_shows_no_token_of_a_path(emulator: Emulator) -> None:
    assert emulator.token.endswith("=")
    for form in (emulator.token, urllib.parse.quote(emulator.token, safe="")):
        Sent(emulator, "GET", f"/v4/apiAccessTokens/{form}")
    assert [entry.path for entry in emulator.journal] == ["/v4/apiAccessTokens/***"] * 2


def test_short_words_are_not_taken_for_tokens(emulator: Emulator) -> None:
    _send(emulator, b"grant_type=urn%3Aietf%3Aparams&scope=openid&client_id=mine&refresh_token=")
    (entry,) = emulator.calls("oauthToken")
    assert entry.body == "grant_type=urn:ietf:params&scope=openid&client_id=mine&refresh_token="


# ------------------------------------------------------------------------------------------------------ settings


@pytest.mark.parametrize(
    "odd",
    [
        {"oauth_access_seconds": 0}, {"oauth_access_seconds": -1}, {"oauth_access_seconds": "x"},
        {"oauth_access_seconds": True}, {"oauth_access_seconds": []}, {"oauth_access_seconds": 1e308},
        {"oauth_expires_in": "never"}, {"oauth_expires_in": 5}, {"oauth_expires_in": []},
        {"oauth_returns_refresh_token": 1}, {"oauth_revoke_family_on_reuse": "yes"},
        {"oauth_revoke_previous_access_token": {}}, {"oauth_only": "false"}, {"oauth_nothing": True},
        {"oauth_self": 1}, {"oauth_only": True, "pace": "odd"}, {"oauth_only": True, "ids": "odd"},
    ],
    ids=json.dumps,
)  # fmt: skip
def test_odd_settings_are_refused_as_a_whole(emulator: Emulator, odd: dict[str, Any]) -> None:
    body = json.dumps({"oauth_revoke_previous_access_token": True, **odd}).encode()
    answer = Sent(emulator, "PATCH", "/emulator/settings", body)
    assert (answer.status, answer.exception["name"]) == (400, "ValidationFailed")
    assert emulator.app.oauth.settings == OAuthSettings()
    with pytest.raises((ValueError, TypeError), match=r"oauth_|pace|ids"):
        emulator.change_settings(**odd)
    assert emulator.app.oauth.settings == OAuthSettings()


def test_settings_that_are_null_stay_as_they_are(emulator: Emulator) -> None:
    assert Sent(emulator, "PATCH", "/emulator/settings", b'{"oauth_access_seconds": 3}').status == 200
    assert Sent(emulator, "PATCH", "/emulator/settings", b'{"oauth_access_seconds": null}').status == 200
    emulator.change_settings(oauth_only=True)
    assert emulator.app.oauth.settings == OAuthSettings(oauth_access_seconds=3, oauth_only=True)


# ------------------------------------------------------------------------------------------------------ the file


def test_everything_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    with Emulator(file=file) as emulator:
        client_id, pair, ended = (
            emulator.oauth_client_id,
            emulator.generate_oauth_pair(),
            emulator.generate_oauth_pair(),
        )
        new = _refreshed(emulator, pair.refresh_token)
        emulator.disable_oauth_family(ended.refresh_token)
        EmulatorTokenStore(Token(emulator)).write(new["refresh_token"])
    with Emulator(file=file) as emulator:
        assert emulator.oauth_client_id == client_id
        assert emulator.stored_token == new["refresh_token"]
        assert not emulator.oauth_access_token_works(ended.access_token)
        assert _person(emulator, new["access_token"]).status_code == 200
        _refused(_post(emulator, pair.refresh_token), 400, "invalid_grant")  # spent before the restart
    with Emulator(file=file) as emulator:
        assert not emulator.oauth_refresh_token_works(new["refresh_token"])  # and its family ended


def test_a_client_id_survives_without_a_pair(tmp_path: Path) -> None:
    client_id = Emulator(file=tmp_path / "state.json").oauth_client_id
    assert Emulator(file=tmp_path / "state.json").oauth_client_id == client_id


def test_a_file_from_before_is_read(tmp_path: Path) -> None:
    file = tmp_path / "state.json"
    Emulator(file=file, token="mine")
    kept = json.loads(file.read_text())
    del kept["stored_token"]
    for table in ("oauthClients", "oauthFamilies", "oauthTokens"):
        del kept["tables"][table]
    file.write_text(json.dumps(kept))
    with Emulator(file=file) as emulator:
        assert emulator.stored_token == emulator.token == "mine"
        _refreshed(emulator, emulator.generate_oauth_pair().refresh_token)


def test_pairs_can_be_generated_before_the_start() -> None:
    emulator = Emulator()
    pair = emulator.generate_oauth_pair()
    emulator.store_token(pair.refresh_token)
    with emulator:
        assert emulator.stored_token == pair.refresh_token
        _refreshed(emulator, pair.refresh_token)


# --------------------------------------------------------------------------------------------------- token store


def test_the_store_replaces_only_what_was_seen(emulator: Emulator) -> None:
    store = EmulatorTokenStore(Token(emulator))
    emulator.store_token("a")
    assert store.read() == "a"
    assert store.compare_and_write("a", "b")
    assert not store.compare_and_write("a", "c")
    assert emulator.stored_token == "b"
    store.write("d")
    assert store.read() == "d"


def test_of_two_writers_one_wins(emulator: Emulator) -> None:
    for round_ in range(20):
        seen = emulator.stored_token
        values = [f"{round_}-0", f"{round_}-1"]
        store = EmulatorTokenStore(Token(emulator))
        won = _at_once(lambda number: store.compare_and_write(seen, values[number]), 2)  # noqa: B023
        assert sorted(won) == [False, True]
        assert emulator.stored_token == values[won.index(True)]


@pytest.mark.parametrize("odd", [5, None, [], {}])
def test_an_odd_comparison_is_refused(emulator: Emulator, odd: Any) -> None:
    body = json.dumps({"token": "x", "if_token": odd}).encode()
    assert Sent(emulator, "PUT", "/emulator/token", body).status == 400
    assert emulator.stored_token == emulator.token


def test_the_store_reports_other_refusals(emulator: Emulator) -> None:
    connection = Token(emulator)
    connection.password = "wrong"
    with pytest.raises(OSError, match="refuses its token store"):
        EmulatorTokenStore(connection).compare_and_write(emulator.token, "x")
    assert emulator.stored_token == emulator.token


# ---------------------------------------------------------------------------------------------------------- page

PATH = "/oauth2-api-tokens"
HTML = "text/html,*/*;q=0.8"


def _page(emulator: Emulator, path: str = PATH, **headers: str) -> str:
    answer = Sent(emulator, "GET", path, authorization=None, accept=HTML, **headers)
    assert answer.status == 200
    _check_headers(answer)
    return answer.body.decode()


def _check_headers(answer: Sent) -> None:
    assert answer.headers["cache-control"] == "no-store"
    assert answer.headers["referrer-policy"] == "same-origin"  # else browsers send Origin: null
    for word in ("default-src 'none'", "form-action 'self'", "frame-ancestors 'none'"):
        assert word in answer.headers["content-security-policy"]


def _act(emulator: Emulator, fields: dict[str, str] | bytes, path: str = PATH, **headers: str | None) -> Sent:
    body = fields if isinstance(fields, bytes) else urllib.parse.urlencode(fields).encode()
    origin = emulator.oauth_token_url.removesuffix("/as/token")
    sent = {
        "authorization": None,
        "accept": HTML,
        "content-type": FORM,
        "origin": origin,
        "sec-fetch-site": "same-origin",
        **headers,
    }
    return Sent(emulator, "POST", path, body, **sent)


def _generated(page: str) -> list[str]:
    return re.findall(r"(?:Access|Refresh) token: <code>([^<]+)</code>", page)


def test_a_pair_is_generated_shown_once_and_disabled(still: Emulator) -> None:
    assert f'<a href="{PATH}">' in _page_of_home(still)
    page = _page(still)
    for text in (still.oauth_client_id, still.oauth_token_url, 'min="1"', 'max="365"', "None yet."):
        assert text in page
    answer = _act(still, {"action": "generate", "days": "30"})
    assert answer.status == 200
    _check_headers(answer)
    access_token, refresh_token = _generated(answer.body.decode())
    assert _person(still, access_token).json()["email"] == "emulator@example.com"
    new = _refreshed(still, refresh_token)
    page = _page(still)
    for token in (access_token, refresh_token, *new.values()):
        if isinstance(token, str) and len(token) > 20:
            assert token not in page
    for text in ("<td>emulator@example.com", "<td>2027-01-15T08:00:00.250Z", "<td>2027-02-14T08:00:00.250Z"):
        assert text in page
    assert page.count("<td>Enabled") == 1
    (identity,) = re.findall(r'name="pair" type="hidden" value="([^"]+)"', page)
    answer = _act(still, {"action": "disable", "pair": identity})
    assert (answer.status, answer.headers["location"]) == (303, PATH)
    assert "<td>Disabled by User" in _page(still)
    assert "<button>Disable" not in _page(still)
    assert not still.oauth_access_token_works(new["access_token"])
    _refused(_post(still, new["refresh_token"]), 400, "invalid_grant")
    assert {entry.operation for entry in still.journal} == {"getCurrentPerson", "oauthToken"}


def _page_of_home(emulator: Emulator) -> str:
    return Sent(emulator, "GET", "/", authorization=None, accept=HTML).body.decode()


def test_the_page_shows_why_a_pair_has_ended(still: Emulator) -> None:
    still.generate_oauth_pair(refresh_token_days=1)
    still.clock.advance(DAY)
    reused, disabled = still.generate_oauth_pair(), still.generate_oauth_pair()
    still.generate_oauth_pair()
    _refreshed(still, reused.refresh_token)
    _post(still, reused.refresh_token)
    still.disable_oauth_family(disabled.refresh_token)
    statuses = re.findall(r"<td>(Enabled|Expired|Disabled by User|Revoked)", _page(still))
    assert statuses == ["Enabled", "Disabled by User", "Revoked", "Expired"]
    assert _page(still).count("<button>Disable") == 1


def test_the_page_escapes_what_people_named(emulator: Emulator) -> None:
    person, _ = emulator.add_person('<script>alert(1)</script>"&{home}@example.com')
    emulator.generate_oauth_pair(person=person)
    page = _page(emulator)
    assert "&lt;script&gt;alert(1)&lt;/script&gt;&quot;&amp;{home}@example.com" in page
    assert "<script" not in page


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example.com"},
        {"origin": "null"},
        {"origin": ""},
        {"origin": "http://127.0.0.1:1"},
        {"origin": None, "sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
        {"host": "evil.example.com", "origin": "http://evil.example.com"},
    ],
    ids=json.dumps,
)
@pytest.mark.parametrize("action", ["generate", "disable"])
def test_other_web_pages_generate_and_disable_nothing(
    emulator: Emulator, headers: dict[str, str | None], action: str
) -> None:
    pair = emulator.generate_oauth_pair()
    identity = emulator.app.oauth.tokens.families()[0]["id"]
    answer = _act(emulator, {"action": action, "days": "7", "pair": identity}, **headers)
    assert (answer.status, answer.exception["name"]) == (403, "AccessControlException")
    assert len(emulator.app.oauth.tokens.families()) == 1
    assert emulator.oauth_refresh_token_works(pair.refresh_token)


def test_the_page_is_not_shown_under_a_foreign_name(emulator: Emulator) -> None:
    assert Sent(emulator, "GET", PATH, accept=HTML, host="evil.example.com").status == 403


def test_the_page_is_not_shown_to_other_machines(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(access, "is_loopback", lambda host: host != "127.0.0.1" and host == "localhost")
    for answer in (
        Sent(emulator, "GET", PATH, accept=HTML, host="localhost"),
        _act(emulator, {"action": "generate", "days": "7"}, origin=None, host="localhost"),
    ):
        assert answer.status == 403
        assert "on the machine that the server runs on" in answer.exception["details"]
    assert emulator.app.oauth.tokens.families() == []


def test_a_program_that_is_no_browser_may_use_the_page(emulator: Emulator) -> None:
    answer = requests.post(f"{emulator.url}{PATH}", {"action": "generate", "days": "1"}, timeout=10)
    assert len(_generated(answer.text)) == 2


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"action": "odd"}, {"action": "generate"}, {"action": "generate", "days": "0"},
        {"action": "generate", "days": "366"}, {"action": "generate", "days": "-1"},
        {"action": "generate", "days": "1.5"}, {"action": "generate", "days": "²"},
        {"action": "generate", "days": "9" * 10_000}, {"action": "disable"},
        {"action": "disable", "pair": "<script>"}, *ODD_BODIES[:12],
    ],
    ids=range(23),
)  # fmt: skip
def test_odd_forms_are_refused(emulator: Emulator, fields: dict[str, str] | bytes) -> None:
    answer = _act(emulator, fields)
    assert (answer.status, answer.exception["name"]) == (400, "ValidationFailed")
    assert emulator.app.oauth.tokens.families() == []


def test_the_page_is_behind_the_prefix() -> None:
    with Emulator(prefix="/tri") as emulator:
        page = _page(emulator, f"/tri{PATH}")
        assert f'action="/tri{PATH}"' in page
        assert emulator.oauth_token_url in page
        answer = _act(emulator, {"action": "generate", "days": "7"}, f"/tri{PATH}")
        assert len(_generated(answer.body.decode())) == 2
        assert Sent(emulator, "GET", PATH, accept=HTML).status == 404


def test_programs_get_no_page(emulator: Emulator) -> None:
    for method in ("GET", "POST"):
        answer = Sent(emulator, method, PATH, accept="application/json")
        assert (answer.status, answer.exception["name"]) == (404, "RouteNotFoundException")


# --------------------------------------------------------------------------------------------------- ways to use


def test_the_fixture_sets_an_oauth_connection(trifacta_oauth_emulator: Emulator) -> None:
    emulator = trifacta_oauth_emulator
    connection = json.loads(os.environ["AIRFLOW_CONN_TRIFACTA_DEFAULT"])
    assert connection == {
        "conn_type": "trifacta",
        "host": emulator.url,
        "password": emulator.token,
        "extra": {
            "oauth_client_id": emulator.oauth_client_id,
            "oauth_token_url": emulator.oauth_token_url,
            "oauth_refresh_on_demand": True,
            "credential_store": "airflow_provider_trifacta.emulator.token_store.EmulatorTokenStore",
        },
    }
    store = EmulatorTokenStore(Token(emulator))
    new = _refreshed(emulator, store.read())
    assert store.compare_and_write(store.read(), new["refresh_token"])
    assert _person(emulator, new["access_token"]).status_code == 200
    assert _person(emulator, emulator.token).status_code == 401


def test_a_refresh_token_can_be_given_to_a_command(emulator: Emulator) -> None:
    assert not any(emulator.generate_oauth_pair().refresh_token.startswith("-") for _ in range(300))


def test_the_command_line() -> None:
    command = [sys.executable, "-m", "airflow_provider_trifacta.emulator", "--port", "0", "--oauth-only"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        read = dict(process.stdout.readline().rstrip("\n").split(":", 1) for _ in range(5))
        url, token, token_url, client_id, page = (value.split()[0] for value in read.values())
        assert list(read) == ["URL", "Token", "OAuth token endpoint", "OAuth client id", "OAuth tokens"]
        assert (token_url, page) == (f"{url}/as/token", f"{url}{PATH}")
        _, refresh_token = _generated(requests.post(page, {"action": "generate", "days": "1"}, timeout=10).text)
        form = {"grant_type": "refresh_token", "refresh_token": refresh_token, "client_id": client_id}
        body = requests.post(token_url, form, timeout=10).json()
        for value, status in ((body["access_token"], 200), (token, 401)):
            headers = {"Authorization": f"Bearer {value}"}
            assert requests.get(f"{url}/v4/people/current", headers=headers, timeout=10).status_code == status
    finally:
        os.kill(process.pid, signal.SIGINT)
        assert process.wait(timeout=10) == 0
