"""HTML that all pages have in common."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from html import escape

from starlette.responses import HTMLResponse, Response

_HEADERS = {
    "content-security-policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }}
td, th {{ text-align: left; padding: .2em 1.5em .2em 0; vertical-align: top }}
code {{ overflow-wrap: anywhere }}</style></head>
<body><p><a href="{home}">Trifacta emulator</a></p><h1>{title}</h1>
{content}
</body></html>
"""


def page(
    prefix: str, title: str, content: str, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    """Return a page.

    :param prefix: the path in front of all routes.
    :param content: what is below the title, as HTML.
    :param headers: further headers, or other values of the usual ones.
    """
    text = _PAGE.format(title=escape(title), home=f"{escape(prefix)}/", content=content)
    return HTMLResponse(text, status, {**_HEADERS, **(headers or {})})


def bullets(items: Iterable[str]) -> str:
    """Return a list of items that are already HTML."""
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def table_of_values(names: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    """Return a table of values."""
    return table(names, ([escape(str(cell)) for cell in row] for row in rows))


def table(names: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Return a table of cells that are already HTML."""
    head = "".join(f"<th>{escape(name)}" for name in names)
    lines = "".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"
