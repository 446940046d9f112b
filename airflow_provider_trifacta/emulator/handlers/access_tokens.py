"""API access tokens."""

from __future__ import annotations

from typing import Any

from airflow_provider_trifacta.emulator import world
from airflow_provider_trifacta.emulator.clock import epoch
from airflow_provider_trifacta.emulator.handlers.base import Call, Handlers, handles
from airflow_provider_trifacta.emulator.problems import Problem
from airflow_provider_trifacta.emulator.state import Row, State, shown


def _own_token(self: Handlers, call: Call) -> Row:
    token = self.state.get("apiAccessTokens", call.path["tokenId"])
    if token["_person"] != call.person:
        raise Problem.not_found("apiAccessTokens", call.path["tokenId"])
    return token


@handles("createApiAccessToken")
def _create_api_access_token(self: Handlers, call: Call) -> Any:
    lifetime = call.body["lifetimeSeconds"]
    if lifetime == 0:
        raise Problem.validation("lifetimeSeconds: must be -1 or positive")
    if lifetime == -1 and not self.endless_tokens:
        raise Problem.validation("lifetimeSeconds: tokens without an end are not allowed in this workspace")
    token = world.add_token(
        self.state,
        call.person,
        lifetime_seconds=lifetime,
        description=call.body.get("description"),
        opaque=self.opaque_tokens,
    )
    return {"tokenValue": token["_value"], "tokenInfo": shown(token)}


@handles("listApiAccessTokens")
def _list_api_access_tokens(self: Handlers, call: Call) -> Any:
    own = [row for row in self.state.rows("apiAccessTokens") if row["_person"] == call.person]
    return {"data": [shown(row) for row in own]}


@handles("getApiAccessToken")
def _get_api_access_token(self: Handlers, call: Call) -> Any:
    return shown(_own_token(self, call))


@handles("deleteApiAccessToken")
def _delete_api_access_token(self: Handlers, call: Call) -> Any:
    token = _own_token(self, call)
    del self.state.tables["apiAccessTokens"][token["tokenId"]]


def person_of(state: State, value: str | None) -> tuple[int, Row]:
    """Return the user of a token, and the token.

    :raises Problem: 401.
    """
    token = next((row for row in state.rows("apiAccessTokens") if row["_value"] == value), None)
    if token is None:
        raise Problem.unauthorized("No valid credentials were sent")
    if token["expiredAt"] is not None and epoch(token["expiredAt"]) <= state.clock.now():
        raise Problem.unauthorized("The access token has expired")
    return token["_person"], token
