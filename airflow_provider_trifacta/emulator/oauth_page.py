"""The page on which a user generates and disables pairs: *OAuth 2.0 API Tokens*."""

from __future__ import annotations

from html import escape

from starlette.responses import RedirectResponse, Response

from airflow_provider_trifacta.emulator import forms, world
from airflow_provider_trifacta.emulator.clock import timestamp
from airflow_provider_trifacta.emulator.oauth import OAuth
from airflow_provider_trifacta.emulator.oauth_tokens import LONGEST_DAYS, OAuthPair
from airflow_provider_trifacta.emulator.problems import Problem
from airflow_provider_trifacta.emulator.rendering import bullets, page, table
from airflow_provider_trifacta.emulator.state import Row, State

PATH = "/oauth2-api-tokens"
TITLE = "OAuth 2.0 API tokens"
# With "no-referrer", browsers send "Origin: null" with a form, even to the page's own server.
_HEADERS = {"referrer-policy": "same-origin"}


class OAuthPage:
    """Renders the page. It shows tokens only once, right after they were generated.

    :param prefix: the path in front of all routes.
    """

    def __init__(self, state: State, oauth: OAuth, prefix: str) -> None:
        self._state = state
        self._oauth = oauth
        self._prefix = prefix
        self.path = f"{prefix}{PATH}"

    def show(self, generated: OAuthPair | None = None) -> Response:
        """Return the page.

        :param generated: the pair to show.
        """
        tokens = self._oauth.tokens
        facts = [
            f"Client id: <code>{escape(tokens.client_id)}</code>",
            f"Token endpoint: <code>{escape(tokens.token_url)}</code>",
        ]
        rows = [self._cells(family) for family in tokens.families()]
        names = ("Generated", "User", "Refresh token ends", "Status", "")
        content = (
            bullets(facts)
            + (_shown_once(generated) if generated else "")
            + "<h2>Generate</h2>"
            + self._form(
                "generate",
                f'<label>Lifetime of the refresh token, in days (1 to {LONGEST_DAYS}): <input name="days" '
                f'type="number" min="1" max="{LONGEST_DAYS}" value="{LONGEST_DAYS}" required></label> ',
                "Generate",
            )
            + "<h2>Generated pairs</h2>"
            + (table(names, rows) if rows else "<p>None yet.</p>")
        )
        return page(self._prefix, TITLE, content, headers=_HEADERS)

    def act(self, raw: bytes, content_type: str) -> Response:
        """Do what a form of the page asks for.

        :raises Problem: 400, no form of the page asks for that.
        """
        try:
            form = forms.fields(raw, content_type)
            if form.get("action") == "generate":
                return self.show(self._oauth.generate(world.PERSON, _days(form.get("days", ""))))
            if form.get("action") == "disable":
                self._oauth.tokens.disable(form.get("pair", ""))
                return RedirectResponse(self.path, 303)
        except ValueError as error:
            raise Problem.validation(str(error)) from None
        raise Problem.validation("action: neither generate nor disable")

    def _cells(self, family: Row) -> tuple[str, ...]:
        user = self._state.tables.get("people", {}).get(str(family["person"]), {}).get("email", family["person"])
        hidden = f'<input name="pair" type="hidden" value="{escape(family["id"])}">'
        texts = (family["createdAt"], user, timestamp(family["ends"]), family["status"])
        button = self._form("disable", hidden, "Disable") if family["status"] == "Enabled" else ""
        return (*(escape(str(text)) for text in texts), button)

    def _form(self, action: str, fields: str, button: str) -> str:
        return (
            f'<form method="post" action="{escape(self.path)}"><input name="action" type="hidden" '
            f'value="{action}">{fields}<button>{button}</button></form>'
        )


def _days(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and len(text) <= len(str(LONGEST_DAYS))):
        raise ValueError(f"days: not a whole number from 1 to {LONGEST_DAYS}")
    return int(text)


def _shown_once(pair: OAuthPair) -> str:
    items = [
        f"Access token: <code>{escape(pair.access_token)}</code>",
        f"Refresh token: <code>{escape(pair.refresh_token)}</code>",
    ]
    return f"<h2>The new pair</h2><p>Copy it now: it is not shown again.</p>{bullets(items)}"
