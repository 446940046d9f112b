"""What tasks on one machine tell each other of a quota: each runs in a process of its own.

Without this, each of a hundred tasks would ask the server first, and be refused once. It only saves requests:
tasks that cannot see the file, in other containers for instance, find the same out from the server.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from pathlib import Path

from airflow_provider_trifacta.api.start_pace import SeenQuota


def folder() -> Path:
    """Return the folder of these files. It belongs to this user, so nobody else can write to it."""
    return Path(tempfile.gettempdir()) / f"airflow-provider-trifacta-{os.getuid()}"


class QuotaFile:
    """Keeps the last quota that was seen to be used up, in the folder for temporary files.

    :param conn_id: the Airflow connection.
    :param base_url: its server.
    :param operation: the operation that the quota is for.
    """

    def __init__(self, conn_id: str, base_url: str, operation: str) -> None:
        self._folder = folder()
        name = hashlib.sha256(json.dumps([conn_id, base_url, operation]).encode()).hexdigest()[:32]
        self._path = self._folder / f"{name}.json"

    def read(self) -> SeenQuota | None:
        """Return it, None if there is none.

        :raises OSError, ValueError: it cannot be read.
        """
        try:
            self._check_folder()
            return SeenQuota.read(json.loads(self._path.read_text()))
        except FileNotFoundError:
            return None

    def write(self, seen: SeenQuota) -> None:
        """Store it.

        :raises OSError: it cannot be written.
        """
        self._folder.mkdir(mode=0o700, exist_ok=True)
        self._check_folder()
        handle, name = tempfile.mkstemp(dir=self._folder)
        with os.fdopen(handle, "w") as file:
            json.dump(seen.plain(), file)
        os.replace(name, self._path)

    def _check_folder(self) -> None:
        status = self._folder.lstat()
        if status.st_uid != os.getuid() or status.st_mode & 0o077:
            raise PermissionError(f"{self._folder} does not belong to this user alone")
