"""The token endpoint of the emulator, the tokens it gives out, and the page on which pairs are generated."""

from __future__ import annotations

import base64
import json
import uuid
from typing import Any

import requests
from test_emulator_hardening import Sent

from airflow_provider_trifacta.emulator import Emulator

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
    _header, payload, signature = token.split(".")
    assert signature
    read = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    assert read["client_id"] == emulator.oauth_client_id == str(uuid.UUID(read["client_id"]))
    assert f"{read['iss']}/token" == emulator.oauth_token_url
    assert read["exp"] - read["iat"] in (299, 300, 301)
    assert {"jti", "sub"} <= set(read)
