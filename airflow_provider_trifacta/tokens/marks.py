"""The mark in the description of a token that a rotation created: its owner, and the tokens it superseded.

::

    [airflow-provider-trifacta <key> after <id>] [keeps <id> until <time>, <id> until <time>]

The first part names the token that was stored before, ``-`` if that was not certain. The second names the tokens
that are still to be revoked, the previous one first: otherwise, tokens that users created would be forgotten once
the tokens whose marks name them are revoked. Older versions wrote and read only the first part.
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

#: Airflow settings that differ between installations that share a user. Only their hash is sent.
_IDENTIFYING_SETTINGS = (
    ("core", "fernet_key"),
    ("api", "base_url"),
    ("core", "execution_api_server_url"),
)
#: How many characters of a description every server is expected to keep.
_LONGEST_DESCRIPTION = 255
_END_OF_TIME = datetime(9998, 12, 31, tzinfo=UTC)


@dataclass(frozen=True)
class Mark:
    """Distinguishes tokens that the rotation of a connection created from all others.

    :param key: a hash of what makes the connection and its Airflow unique. If that changes, earlier tokens are no
        longer recognized as ours and stay until they expire.
    """

    key: str

    @classmethod
    def of(cls, conn_id: str, base_url: str) -> Mark:
        """Return the mark of a connection in this Airflow."""
        parts = [conn_id, base_url, *(conf.get(*name, fallback="") or "" for name in _IDENTIFYING_SETTINGS)]
        return cls(hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16])

    def on(self, description: str, predecessor: str | None, kept: Mapping[str, datetime]) -> str:
        """Return a description with the mark.

        :param predecessor: id of the token that was stored before, None if that is not certain.
        :param kept: when each token may be revoked, by id, most recently superseded first. The last ones are
            omitted if the description would become too long.
        """
        marked = f"{description} [airflow-provider-trifacta {self.key} after {predecessor or '-'}]"
        entries = [f"{token} until {moment:%Y-%m-%dT%H:%M:%SZ}" for token, moment in kept.items()]
        for count in range(len(entries), 0, -1):
            whole = f"{marked} [keeps {', '.join(entries[:count])}]"
            if len(whole) <= _LONGEST_DESCRIPTION:
                return whole
        return marked

    def is_on(self, token: AccessToken) -> bool:
        """Return whether a rotation of this connection created the token."""
        return f"[airflow-provider-trifacta {self.key} " in token.description

    def predecessor_of(self, token: AccessToken) -> str | None:
        """Return the id of the token that this one superseded, None when it is not specified."""
        found = re.search(rf"\[airflow-provider-trifacta {self.key} after (\S+)\]", token.description)
        return found[1] if found and found[1] != "-" else None

    def kept_by(self, token: AccessToken, *, keep: timedelta) -> dict[str, datetime]:
        """Return, by id, when each token that this one superseded or names may be revoked.

        :param keep: how long a token is kept after it was superseded, if the mark does not specify it.
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
    """Return a moment plus a span, or the latest possible datetime if that overflows."""
    return moment + min(span, _END_OF_TIME - moment)
