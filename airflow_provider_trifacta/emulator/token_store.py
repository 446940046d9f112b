"""Keeps the token of a connection in the running emulator, so that a test can rotate it."""

from __future__ import annotations

import http.client
import json
from typing import Any
from urllib.parse import urlsplit


class _Conflict(Exception):
    """Another token is stored than expected."""


class EmulatorTokenStore:
    """A store for the extra ``credential_store`` of a connection to an emulator.

    :param connection: its host is the URL of the emulator, its password the token that the emulator started with.
    """

    def __init__(self, connection: Any) -> None:
        self._address = urlsplit(connection.host).netloc
        self._headers = {"Authorization": f"Bearer {connection.password}", "Content-Type": "application/json"}

    def read(self) -> str:
        """Return the stored token.

        :raises OSError: the emulator does not answer.
        """
        return str(self._send("GET")["token"])

    def write(self, token: str) -> None:
        """Replace the stored token.

        :raises OSError: the emulator does not answer.
        """
        self._send("PUT", json.dumps({"token": token}))

    def compare_and_write(self, seen: str, token: str) -> bool:
        """Replace the stored token if it still is ``seen``, in one step. Return whether it was.

        :raises OSError: the emulator does not answer.
        """
        try:
            self._send("PUT", json.dumps({"token": token, "if_token": seen}))
        except _Conflict:
            return False
        return True

    def why_not_writable(self) -> str | None:
        """Return None: the store can always be written."""
        return None

    def _send(self, method: str, body: str | None = None) -> Any:
        connection = http.client.HTTPConnection(self._address, timeout=10)
        try:
            connection.request(method, "/emulator/token", body, self._headers)
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if answer.status == 409:
            raise _Conflict
        if answer.status >= 300:
            raise OSError(f"the emulator refuses its token store: {content.decode('utf-8', 'replace')[:200]}")
        return json.loads(content) if content else None
