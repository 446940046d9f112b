"""Airflow's own REST API, as far as it is needed to change the password of a connection on Airflow 3."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import requests

from airflow_provider_trifacta.api.errors import TrifactaConfigurationError, TrifactaError
from airflow_provider_trifacta.api.settings import base_url_from
from airflow_provider_trifacta.connection import AirflowConnection, kept_elsewhere, of_connection

#: Connect and read timeout of each call, seconds.
_TIMEOUT = (10.0, 20.0)


class AirflowApiError(TrifactaError):
    """Airflow's REST API refused a call, or did not answer."""


class AirflowApi:
    """Changes connections with the rights of a user of Airflow.

    :param connection: the Airflow connection that names Airflow's API server: host; login and password of a user
        who may edit connections. Without login, the password is taken as an access token of Airflow.
    """

    def __init__(self, connection: AirflowConnection) -> None:
        self._connection = connection
        try:
            schema = connection.schema or (None if "://" in (connection.host or "") else "http")
            base_url = base_url_from(connection.host, schema=schema, port=connection.port)
        except TrifactaConfigurationError as error:
            raise of_connection(connection, error) from None
        self._base_url = base_url.removesuffix("/api/v2")
        self._token: str | None = None

    def why_not_changeable(self, conn_id: str) -> str | None:
        """Return why a connection cannot be changed, None when it can, as far as can be told without doing it."""
        try:
            answer = self._call("GET", f"/api/v2/connections/{quote(conn_id, safe='')}")
        except AirflowApiError as error:
            return str(error)
        return kept_elsewhere(conn_id) if answer is None else None

    def set_password(self, conn_id: str, conn_type: str | None, password: str) -> None:
        """Change the password of a connection and nothing else.

        :raises AirflowApiError: it was not changed, as far as is known.
        """
        body = {"connection_id": conn_id, "conn_type": conn_type, "password": password}
        path = f"/api/v2/connections/{quote(conn_id, safe='')}?update_mask=password"
        if self._call("PATCH", path, body) is None:
            raise AirflowApiError(f"Airflow's API server knows no connection {conn_id!r}")

    def _call(self, method: str, path: str, body: Any = None) -> Any:
        """Return the decoded answer, None for 404."""
        headers = {"Authorization": f"Bearer {self._access_token()}"}
        answer = self._send(method, path, json=body, headers=headers)
        return None if answer.status_code == 404 else self._decoded(answer, f"{method} {path}")

    def _access_token(self) -> str:
        if self._token is None:
            if self._connection.login:
                credentials = {"username": self._connection.login, "password": self._connection.password}
                answer = self._send("POST", "/auth/token", json=credentials)
                self._token = self._decoded(answer, "POST /auth/token")["access_token"]
            else:
                self._token = self._connection.password
        if not self._token:
            raise AirflowApiError(
                f"Airflow connection {self._connection.conn_id!r} has no login and no password: put in a user of "
                "Airflow who may edit connections"
            )
        return self._token

    def _send(self, method: str, path: str, **options: Any) -> requests.Response:
        try:
            return requests.request(
                method, f"{self._base_url}{path}", timeout=_TIMEOUT, allow_redirects=False, **options
            )
        except requests.RequestException as error:
            raise AirflowApiError(
                f"Airflow's API server at {self._base_url} gave no answer to {method} {path.partition('?')[0]}: "
                f"{type(error).__name__}. Check connection {self._connection.conn_id!r}"
            ) from None  # the cause may quote the request

    def _decoded(self, answer: requests.Response, call: str) -> Any:
        if answer.ok:
            try:
                return answer.json()
            except ValueError:
                pass
        advice = {
            401: "check its login and password",
            403: "its user may not edit connections",
        }.get(answer.status_code, "check that its host is Airflow's API server")
        raise AirflowApiError(
            f"Airflow's API server at {self._base_url} answered {answer.status_code} to {call.partition('?')[0]}: "
            f"{advice} (connection {self._connection.conn_id!r})"
        )
