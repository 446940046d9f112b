"""Keeps secrets out of logs and errors: asterisks replace tokens and passwords."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, quote_plus

MASK = "***"
# A shorter secret is replaced only as a whole word: inside other words, this would garble the text.
_SHORT = 6
# Minimum length of a token. A shorter string may be an ordinary word in the data of an answer.
_TOKEN = 16
# Maximum number of tokens sent one after the other that are kept: older ones have long expired or been revoked. A
# client that lives for months would otherwise know tens of thousands.
_MOST_SENT = 20
_OPAQUE = re.compile(r"[A-Za-z0-9_\-+/=.~]{20,}")
_USERINFO = re.compile(r"^(\s*[a-z][a-z0-9+.-]*://)?.*@", re.IGNORECASE | re.DOTALL)


class Redactor:
    """Replaces secrets in strings, also if they are percent-encoded, or escaped as in JSON or HTML."""

    def __init__(self, *secrets: str | None) -> None:
        self._secrets: set[str] = set()
        self._sent: dict[str, None] = {}
        self._pattern: re.Pattern[str] | None = None
        self._token_pattern: re.Pattern[str] | None = None
        for secret in secrets:
            self.add(secret)

    def __repr__(self) -> str:
        return f"<Redactor of {len(self._secrets)} secrets>"

    def add(self, secret: str | None) -> None:
        """Redact a secret from now on."""
        if secret and secret not in self._secrets:
            self._secrets.add(secret)
            self._compile()

    def add_sent(self, token: str) -> None:
        """Redact a token from now on, until many others have been sent after it."""
        if token in self._secrets:
            return
        self._sent[token] = None
        self._secrets.add(token)
        while len(self._sent) > _MOST_SENT:
            oldest = next(iter(self._sent))
            del self._sent[oldest]
            self._secrets.discard(oldest)
        self._compile()

    def _compile(self) -> None:
        self._pattern = _pattern_of(self._secrets)
        self._token_pattern = _pattern_of(known for known in self._secrets if len(known) >= _TOKEN)

    def redact(self, text: str) -> str:
        """Return a string without the secrets."""
        return self._pattern.sub(MASK, text) if self._pattern else text

    def redact_tokens(self, text: str) -> str:
        """Return a string of an answer without tokens. Short secrets stay: in data, they may be ordinary words."""
        return self._token_pattern.sub(MASK, text) if self._token_pattern else text

    def redact_value(self, value: Any) -> Any:
        """Return a JSON value without the secrets, in both names and values."""
        if isinstance(value, str):
            return self.redact(value)
        if isinstance(value, dict):
            return {self.redact(str(name)): self.redact_value(item) for name, item in value.items()}
        if isinstance(value, list):
            return [self.redact_value(item) for item in value]
        return value


def redact_opaque(text: str) -> str:
    """Return a string without anything that could be a token we do not know yet."""
    return _OPAQUE.sub(MASK, text)


def redact_userinfo(url: str) -> str:
    """Return a URL, or what should be one, without user name and password."""
    return _USERINFO.sub(rf"\g<1>{MASK}@", url) if "@" in url else url


def _pattern_of(secrets: Iterable[str]) -> re.Pattern[str] | None:
    forms = sorted({form for secret in secrets for form in _forms(secret)}, key=len, reverse=True)
    return re.compile("|".join(map(_matched, forms))) if forms else None


def _forms(secret: str) -> set[str]:
    encoded = {quote(secret), quote(secret, safe=""), quote_plus(secret)}
    lower = {re.sub("%[0-9A-F]{2}", lambda escape: escape[0].lower(), form) for form in encoded}
    forms = {secret, html.escape(secret), *encoded, *lower}
    in_json = {json.dumps(form)[1:-1] for form in forms}
    return forms | in_json | {form.replace("/", r"\/") for form in in_json}


def _matched(form: str) -> str:
    pattern = re.escape(form)
    return pattern if len(form) >= _SHORT else rf"(?<![^\W_]){pattern}(?![^\W_])"
