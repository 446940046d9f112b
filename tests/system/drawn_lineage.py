"""Draws an event of OpenLineage, for the documentation."""

from __future__ import annotations

import html
import json
from typing import Any

from chromium import browser, take_picture

_STYLE = """
body { margin: 0; font: 14px sans-serif; color: #222 }
#event { display: flex; align-items: center; gap: 14px; padding: 20px; width: max-content }
.box { border: 1px solid #8a9; border-radius: 6px; padding: 12px 16px; background: #f3f8f5 }
.job { border-color: #67a; background: #f2f5fb }
.kind { color: #666; font-size: 12px }
.arrow { font-size: 26px; color: #888 }
table { margin-top: 8px; border-collapse: collapse; font-size: 12px }
td { padding: 2px 12px 2px 0; vertical-align: top; font-family: monospace }
"""


def draw_event(event: dict[str, Any], name: str) -> None:
    """Take a picture of what an event says: what was read, by which run of which task, and what was written."""
    facet = event["run"]["facets"]["trifacta_run"]
    rows = "".join(
        f"<tr><td>{_text(key)}</td><td>{_text(value)}</td></tr>"
        for key, value in facet.items()
        if not key.startswith("_")
    )
    job = event["job"]
    task = (
        f"<div class='box job'><div class=kind>job, {_text(event['eventType'])}</div>"
        f"<b>{_text(job['namespace'])}</b><br>{_text(job['name'])}"
        f"<table><tr><td colspan=2>run facet trifacta_run</td></tr>{rows}</table></div>"
    )
    arrow = "<div class=arrow>→</div>"
    drawn = arrow.join((_datasets("input", event["inputs"]), task, _datasets("output", event["outputs"])))
    with browser() as running:
        page = running.new_page(viewport={"width": 1300, "height": 700})
        page.set_content(f"<style>{_STYLE}</style><div id=event>{drawn}</div>")
        take_picture(page.locator("#event"), name)


def _datasets(kind: str, datasets: list[dict[str, Any]]) -> str:
    return "".join(
        f"<div class=box><div class=kind>{kind}</div><b>{_text(dataset['namespace'])}</b><br>"
        f"{_text(dataset['name'])}</div>"
        for dataset in datasets
    )


def _text(value: Any) -> str:
    return html.escape(value if isinstance(value, str) else json.dumps(value))
