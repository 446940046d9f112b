"""What a client authenticates with.

A client never keeps a token: it asks its credential, and asks it to read it again when the server refuses. A
credential may be one constant text, or something that is replaced while the client lives.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol


class Credential(Protocol):
    """Gives the token of a synchronous client."""

    def token(self) -> str:
        """Return the token to send."""
        ...

    def reread(self) -> str:
        """Return the token after reading it again from where it is kept."""
        ...


class AsyncCredential(Protocol):
    """Gives the token of an asynchronous client."""

    async def token(self) -> str:
        """Return the token to send."""
        ...

    async def reread(self) -> str:
        """Return the token after reading it again from where it is kept."""
        ...


@dataclass(frozen=True)
class StaticToken:
    """A token that is what it is."""

    value: str = field(repr=False)

    def token(self) -> str:
        """Return the token."""
        return self.value

    def reread(self) -> str:
        """Return the same token: there is nowhere else to read it."""
        return self.value


@dataclass(frozen=True)
class AsyncStaticToken:
    """A token that is what it is, for the asynchronous client."""

    value: str = field(repr=False)

    async def token(self) -> str:
        """Return the token."""
        return self.value

    async def reread(self) -> str:
        """Return the same token: there is nowhere else to read it."""
        return self.value
