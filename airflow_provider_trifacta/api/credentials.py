"""Credentials: the source of a client's token.

A client never keeps a token: it gets it from its credential, and makes the credential reread it when the server
refuses it. A credential may be a constant string, or a token that is replaced during the client's lifetime.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Protocol

#: What a token may consist of: it is sent in a header.
_TOKEN = re.compile(r"[\x21-\x7e]{1,16384}")


def token_in(value: object) -> str | None:
    """Return a value from outside if it can be sent as a token, None otherwise."""
    return value if isinstance(value, str) and _TOKEN.fullmatch(value) else None


class Credential(Protocol):
    """Provides the token of a synchronous client."""

    def token(self) -> str:
        """Return the token to send."""
        ...

    def reread(self, patience: float) -> str:
        """Read the token again from where it is kept, since the server refused it, and return it.

        :param patience: maximum seconds to wait for another one.
        """
        ...

    def detached(self) -> Credential:
        """Return a credential for signal handlers, which must not call Airflow."""
        ...


class AsyncCredential(Protocol):
    """Provides the token of an asynchronous client."""

    async def token(self) -> str:
        """Return the token to send."""
        ...

    async def reread(self, patience: float) -> str:
        """Read the token again from where it is kept, since the server refused it, and return it.

        :param patience: maximum seconds to wait for another one.
        """
        ...


@dataclass(frozen=True)
class StaticToken:
    """A token that never changes."""

    value: str = field(repr=False)

    def token(self) -> str:
        """Return the token."""
        return self.value

    def reread(self, patience: float) -> str:
        """Return the same token: there is nowhere else to read it."""
        return self.value

    def detached(self) -> StaticToken:
        """Return this credential: it calls nothing."""
        return self


@dataclass(frozen=True)
class AsyncStaticToken:
    """A token that never changes, for the asynchronous client."""

    value: str = field(repr=False)

    async def token(self) -> str:
        """Return the token."""
        return self.value

    async def reread(self, patience: float) -> str:
        """Return the same token: there is nowhere else to read it."""
        return self.value
