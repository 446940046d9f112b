"""Keeps tokens out of the journal."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode

from airflow_provider_trifacta.emulator.jsontext import decoded

_HIDDEN = "***"
#: Fields of a form at the token endpoint that hold no secret, and what their values look like.
_SHOWN = ("grant_type", "client_id", "scope")
_WORD = re.compile(r"[\w:-]{1,50}")
#: Bytes or characters of a body that is not JSON.
_LONGEST = 1000


class Redaction:
    """Replaces tokens in what was sent.

    :param tokens: returns the values of all tokens.
    """

    def __init__(self, tokens: Callable[[], Iterable[str]]) -> None:
        self._tokens = tokens

    def text(self, text: str) -> str:
        """Return a text without tokens, neither as they are nor as they look in a URL."""
        for token in filter(None, self._tokens()):
            for form in {token, quote(token, safe="")}:
                text = text.replace(form, _HIDDEN)
        return text

    def texts(self, values: Iterable[tuple[str, str]]) -> dict[str, str]:
        """Return names and values without tokens."""
        return {self.text(name): self.text(value) for name, value in values}

    def body(self, raw: bytes) -> Any:
        """Return a body of the API without tokens: decoded if it is JSON, else its beginning."""
        text = raw.decode("utf-8", "replace")
        if not text:
            return None
        try:
            # Written again, since escapes may hide a token.
            return json.loads(self.text(json.dumps(decoded(text.encode()), ensure_ascii=False)))
        except ValueError:
            return self.text(text)[:_LONGEST]

    def form(self, raw: bytes) -> str | None:
        """Return the beginning of a form without tokens, also those that this server does not know.

        A real one, sent here by mistake, is as secret as its own.
        """
        if not raw:
            return None
        # Where it is cut does not matter: what is left of a token is not shown either.
        fields = self.fields(raw[:_LONGEST].decode("utf-8", "replace"))
        return self.text(urlencode(fields, safe="*:"))

    def fields(self, text: str) -> list[tuple[str, str]]:
        """Return the fields of a form or of a query likewise."""
        pairs = parse_qsl(text, keep_blank_values=True)
        return [
            (
                name if _WORD.fullmatch(name) else _HIDDEN,
                value if not value or (name in _SHOWN and _WORD.fullmatch(value)) else _HIDDEN,
            )
            for name, value in pairs
        ]
