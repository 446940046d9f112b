"""The mark in the description of a token that a rotation made: whose it is, and which tokens it superseded.

::

    [airflow-provider-trifacta <key> after <id>] [keeps <id> until <time>, <id> until <time>]

The first part names the token that was stored before, ``-`` where that was not certain. The second names the
tokens that are still to be revoked, the previous one first: those that users created would be forgotten when the
tokens whose marks name them are revoked. Older versions wrote and read the first part only.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from airflow_provider_trifacta.airflow_support.compat import conf
from airflow_provider_trifacta.api.access_tokens import AccessToken
from airflow_provider_trifacta.api.timestamps import timestamp_of

#: Settings of Airflow that differ between installations that share a user. Only their hash leaves.
_IDENTIFYING_SETTINGS = (
    ("core", "fernet_key"),
    ("api", "base_url"),
    ("core", "execution_api_server_url"),
)
#: Characters of a description that a server is trusted to keep.
_LONGEST_DESCRIPTION = 255
_END_OF_TIME = datetime(9998, 12, 31, tzinfo=UTC)


@dataclass(frozen=True)
class Mark:
    """What tells the tokens of a connection's rotation apart from all others.

    :param key: a hash of what makes the connection and its Airflow unique. Where that changes, the tokens of
        before are no longer taken for ours: they stay until they expire.
    """

    key: str

    @classmethod
    def of(cls, conn_id: str, base_url: str) -> Mark:
        """Return the mark of a connection in this Airflow."""
        parts = [conn_id, base_url, *(conf.get(*name, fallback="") or "" for name in _IDENTIFYING_SETTINGS)]
        return cls(hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16])

    def on(self, description: str, predecessor: str | None, kept: Mapping[str, datetime]) -> str:
        """Return a description with the mark.

        :param predecessor: id of the token that was stored before, None where that is not certain.
        :param kept: when each token may be revoked, by id, the one superseded last first. The last ones are left
            out where the description would become too long.
        """
        marked = f"{description} [airflow-provider-trifacta {self.key} after {predecessor or '-'}]"
        entries = [f"{token} until {moment:%Y-%m-%dT%H:%M:%SZ}" for token, moment in kept.items()]
        for count in range(len(entries), 0, -1):
            whole = f"{marked} [keeps {', '.join(entries[:count])}]"
            if len(whole) <= _LONGEST_DESCRIPTION:
                return whole
        return marked

    def is_on(self, token: AccessToken) -> bool:
        """Return whether a rotation of this connection made the token."""
        return f"[airflow-provider-trifacta {self.key} " in token.description

    def predecessor_of(self, token: AccessToken) -> str | None:
        """Return the id of the token that this one superseded, None when it is not specified."""
        found = re.search(rf"\[airflow-provider-trifacta {self.key} after (\S+)\]", token.description)
        return found[1] if found and found[1] != "-" else None

    def kept_by(self, token: AccessToken, *, keep: timedelta) -> dict[str, datetime]:
        """Return when each token may be revoked that this one superseded or was told of, by id.

        :param keep: how long after that the superseded one is kept, where the mark does not say.
        """
        kept = {name: moment for name, text in self._entries(token) if (moment := timestamp_of(text)) is not None}
        predecessor = self.predecessor_of(token)
        if predecessor is not None and predecessor not in kept:
            created = token.created_at
            kept[predecessor] = later(created, keep) if created else datetime.min.replace(tzinfo=UTC)
        return kept

    def _entries(self, token: AccessToken) -> list[tuple[str, str]]:
        pattern = rf"\[airflow-provider-trifacta {self.key} after \S+\] \[keeps ([^\]]+)\]"
        found = re.search(pattern, token.description)
        return re.findall(r"(\S+) until ([^\s,]+)", found[1]) if found else []


def later(moment: datetime, span: timedelta) -> datetime:
    """Return a moment so much later; the end of time where that is beyond it."""
    return moment + min(span, _END_OF_TIME - moment)
