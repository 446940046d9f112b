"""Credentials: the source of a client's token.

A client never keeps a token: it gets it from its credential, and makes the credential reread it when the server
refuses it. A credential may be a constant string, or a token that is replaced during the client's lifetime.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class Credential(Protocol):
    """Provides the token of a synchronous client."""

    def token(self) -> str:
        """Return the token to send."""
        ...

    def reread(self) -> str:
        """Read the token again from where it is kept, and return it."""
        ...


class AsyncCredential(Protocol):
    """Provides the token of an asynchronous client."""

    async def token(self) -> str:
        """Return the token to send."""
        ...

    async def reread(self) -> str:
        """Read the token again from where it is kept, and return it."""
        ...


@dataclass(frozen=True)
class StaticToken:
    """A token that never changes."""

    value: str = field(repr=False)

    def token(self) -> str:
        """Return the token."""
        return self.value

    def reread(self) -> str:
        """Return the same token: there is nowhere else to read it."""
        return self.value


@dataclass(frozen=True)
class AsyncStaticToken:
    """A token that never changes, for the asynchronous client."""

    value: str = field(repr=False)

    async def token(self) -> str:
        """Return the token."""
        return self.value

    async def reread(self) -> str:
        """Return the same token: there is nowhere else to read it."""
        return self.value
