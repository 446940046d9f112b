"""The part of Airflow's own REST API that is needed to change the password of a connection on Airflow 3."""

from __future__ import annotations

import contextlib
from typing import Any
from urllib.parse import quote

from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaConfigurationError,
    TrifactaError,
    TrifactaTransportError,
)
from airflow_provider_trifacta.api.exchange import Transfer
from airflow_provider_trifacta.api.messages import Answer, Request, check_header
from airflow_provider_trifacta.api.redaction import Redactor
from airflow_provider_trifacta.api.requests_transport import RequestsTransport
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.api.urls import base_url_from
from airflow_provider_trifacta.connection import AirflowConnection, kept_elsewhere, of_connection

#: Seconds to wait for a connection, and then for a complete answer.
_CONNECT_TIMEOUT = 10.0
_READ_TIMEOUT = 20.0


class AirflowApiError(TrifactaError):
    """Airflow's REST API refused a call, or did not answer."""


class AirflowApi:
    """Changes connections with the rights of an Airflow user.

    :param connection: the Airflow connection to Airflow's API server: its host, and login and password of a user
        who may edit connections. Without a login, the password is used as an access token of Airflow.
    """

    def __init__(self, connection: AirflowConnection) -> None:
        self._connection = connection
        try:
            schema = connection.schema or (None if "://" in (connection.host or "") else "http")
            base_url = base_url_from(connection.host, schema=schema, port=connection.port)
        except TrifactaConfigurationError as error:
            raise of_connection(connection, error) from None
        self._settings = ClientSettings(
            base_url.removesuffix("/api/v2"), connect_timeout=_CONNECT_TIMEOUT, read_timeout=_READ_TIMEOUT
        )
        self._token: str | None = None

    def why_not_changeable(self, conn_id: str) -> str | None:
        """Return why a connection cannot be changed, None if nothing is known to prevent it. Changes nothing."""
        try:
            answer = self._call(Request("GET", f"/api/v2/connections/{quote(conn_id, safe='')}"))
        except AirflowApiError as error:
            return str(error)
        return kept_elsewhere(conn_id) if answer is None else None

    def set_password(self, conn_id: str, conn_type: str | None, password: str) -> None:
        """Change the password of a connection and nothing else.

        :raises AirflowApiError: it was not changed, as far as is known.
        """
        body = {"connection_id": conn_id, "conn_type": conn_type, "password": password}
        path = f"/api/v2/connections/{quote(conn_id, safe='')}"
        if self._call(Request("PATCH", path, {"update_mask": "password"}, body)) is None:
            raise AirflowApiError(f"Airflow's API server has no connection {conn_id!r}")

    def _call(self, request: Request) -> Any:
        """Return the decoded answer, None for 404."""
        answer = self._send(request, {"Authorization": f"Bearer {self._access_token()}"})
        return None if answer.status == 404 else self._decoded(answer)

    def _access_token(self) -> str:
        if self._token is None:
            if self._connection.login:
                credentials = {"username": self._connection.login, "password": self._connection.password}
                login = Request("POST", "/auth/token", body=credentials, confidential=True)
                token = self._decoded(self._send(login, {})).get("access_token")
                missing = f"Airflow's API server at {self._settings.base_url} returned no token for the login"
            else:
                token = self._connection.password
                missing = (
                    f"Airflow connection {self._connection.conn_id!r} has no login and no password: enter those "
                    "of an Airflow user who may edit connections"
                )
            if not isinstance(token, str) or not token:
                raise AirflowApiError(missing)
            check_header(f"Airflow connection {self._connection.conn_id!r}: password", token)
            self._token = token
        return self._token

    def _send(self, request: Request, headers: dict[str, str]) -> Answer:
        headers = {"Accept": "application/json", **headers}
        if request.body is not None:
            headers["Content-Type"] = "application/json"
        url = request.url(self._settings.base_url)
        transport = RequestsTransport(self._settings)
        try:
            # No error quotes the request or the answer, so there is nothing to redact.
            return transport.transfer(Transfer(request, url, headers, _READ_TIMEOUT, Redactor()))
        except TrifactaApiError as error:
            failure = error.failure.value if isinstance(error, TrifactaTransportError) else "not understood"
        finally:
            transport.close()
        raise AirflowApiError(
            f"Airflow's API server at {self._settings.base_url} returned no usable answer to {request.method} "
            f"{request.path}: {failure}. Check connection {self._connection.conn_id!r}"
        )

    def _decoded(self, answer: Answer) -> dict[str, Any]:
        if 200 <= answer.status < 300:
            with contextlib.suppress(TrifactaAnswerNotUnderstood):
                value = answer.json()
                if isinstance(value, dict):
                    return value
        advice = {
            401: "check its login and password",
            403: "its user may not edit connections",
        }.get(answer.status, "check that its host is Airflow's API server")
        raise AirflowApiError(
            f"Airflow's API server at {self._settings.base_url} answered {answer.status} to "
            f"{answer.request.method} {answer.request.path}: {advice} (connection {self._connection.conn_id!r})"
        )
