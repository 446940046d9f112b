"""Pages for a person: what the links in logs and the buttons of Airflow lead to."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from html import escape

from starlette.responses import HTMLResponse, Response

from airflow_provider_trifacta.emulator.runs import Runs
from airflow_provider_trifacta.emulator.state import Row, State
from airflow_provider_trifacta.emulator.world import RECIPES

_LATEST = 50
_HEADERS = {
    "content-security-policy": "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>{title}</title>
<style>body {{ font: 16px sans-serif; max-width: 60em; margin: 2em auto; padding: 0 1em }}
td, th {{ text-align: left; padding: .2em 1.5em .2em 0; vertical-align: top }}</style></head>
<body><p><a href="{home}">Trifacta emulator</a></p><h1>{title}</h1>
{content}
</body></html>
"""
_TRY = (
    "Recipe 7 completes, 8 fails in its wrangle job, 9 runs until it is canceled, 10 fails while it publishes, 11 "
    "stays Pending for a while first."
)


class Pages:
    """Writes the pages. They show no token, and looking at them changes nothing that polls count.

    :param prefix: the path in front of all routes.
    """

    def __init__(self, state: State, runs: Runs, prefix: str) -> None:
        self._state = state
        self._runs = runs
        self._prefix = prefix

    def find(self, path: str) -> Callable[[], Response] | None:
        """Return what writes the page at a path, None when pages have no such path."""
        if path in (f"{self._prefix}/", self._prefix):
            return self._home
        match = re.fullmatch(rf"{re.escape(self._prefix)}/(jobs|flows)/([^/]+)/?", path)
        if match is None:
            return None
        return functools.partial(self._job_group if match[1] == "jobs" else self._flow, match[2])

    def _home(self) -> Response:
        self._runs.look_at_all()
        job_groups = list(self._state.rows("jobGroups"))[::-1][:_LATEST]
        behaviours = ", ".join(f"{recipe.id} ({recipe.behaviour})" for recipe in RECIPES)
        content = (
            "<p>This server speaks the v4 API of Trifacta. Nothing here is live.</p><h2>Job groups</h2>"
            + (self._table(job_groups) if job_groups else "<p>None yet: run a recipe.</p>")
            + "<h2>Flows</h2>"
            + _list(self._flow_link(flow) for flow in self._state.rows("flows"))
            + f"<h2>What to try</h2><p>{escape(_TRY)}</p><p>Recipes at the start: {escape(behaviours)}.</p>"
        )
        return self._page("Trifacta emulator", content)

    def _job_group(self, identity: str) -> Response:
        job_group = self._state.tables.get("jobGroups", {}).get(identity)
        if job_group is None:
            return self._missing(f"There is no job group {identity}.")
        self._runs.look(job_group)
        status = job_group["status"]
        recipe = self._state.get("wrangledDatasets", job_group["wrangledDataset"]["id"], deleted=True)
        jobs = self._runs.jobs_of(job_group)
        rows = [
            (job["id"], job["jobType"], job["status"], f"{job['percentComplete']}%", _message(job)) for job in jobs
        ]
        facts = [
            f"Status: <strong>{escape(str(status))}</strong>",
            f"Recipe: {_named(recipe)}",
            f"Flow: {self._flow_link(self._state.get('flows', recipe['flow']['id'], deleted=True))}",
            f"Started: {escape(job_group['createdAt'])}, last change: {escape(job_group['updatedAt'])}",
        ]
        content = _list(facts) + "<h2>Jobs</h2>" + _rows(("Job", "Type", "Status", "Done", "Error"), rows)
        if status == "Complete":
            outputs = _list(escape(str(path)) for path in job_group["_files"])
            content += f"<h2>Outputs</h2>{outputs}<p>Nothing is really written.</p>"
        content += f"<h2>What to try</h2><p>{escape(_advice(status))}</p>"
        return self._page(f"Job group {identity}: {status}", content)

    def _flow(self, identity: str) -> Response:
        flow = self._state.tables.get("flows", {}).get(identity)
        if flow is None:
            return self._missing(f"There is no flow {identity}.")
        self._runs.look_at_all()
        recipes = [row for row in self._state.rows("wrangledDatasets") if str(row["flow"]["id"]) == identity]
        known = {row["id"] for row in recipes}
        job_groups = [row for row in self._state.rows("jobGroups") if row["wrangledDataset"]["id"] in known]
        content = (
            "<h2>Recipes</h2>"
            + _rows(("Recipe", "Name", "Behaviour"), [(r["id"], r["name"], r["_behaviour"]) for r in recipes])
            + "<h2>Job groups</h2>"
            + (self._table(job_groups[::-1][:_LATEST]) if job_groups else "<p>None yet: run a recipe.</p>")
            + "<h2>What to try</h2><p>Run a recipe by its number, as wrangled_dataset_id.</p>"
        )
        return self._page(f"Flow {identity}: {flow['name']}", content)

    def _missing(self, text: str) -> Response:
        hint = "Without a file, the server forgets everything when it is stopped."
        return self._page("Not found", f"<p>{escape(text)} {hint}</p>", 404)

    def _table(self, job_groups: Iterable[Row]) -> str:
        lines = "".join(
            f"<tr><td>{self._link('jobs', row['id'], str(row['id']))}</td><td>{escape(str(row['status']))}</td>"
            f"<td>{_named(self._state.get('wrangledDatasets', row['wrangledDataset']['id'], deleted=True))}</td>"
            f"<td>{escape(row['createdAt'])}</td></tr>"
            for row in job_groups
        )
        return f"<table><tr><th>Job group<th>Status<th>Recipe<th>Started</tr>{lines}</table>"

    def _flow_link(self, flow: Row) -> str:
        return self._link("flows", flow["id"], f"{flow['name']} ({flow['id']})")

    def _link(self, kind: str, identity: object, text: str) -> str:
        return f'<a href="{escape(self._prefix)}/{kind}/{escape(str(identity))}">{escape(text)}</a>'

    def _page(self, title: str, content: str, status: int = 200) -> Response:
        page = _PAGE.format(title=escape(title), home=f"{escape(self._prefix)}/", content=content)
        return HTMLResponse(page, status, _HEADERS)


def _named(recipe: Row) -> str:
    return escape(f"{recipe['name']} ({recipe['id']})")


def _message(job: Row) -> str:
    return str((job.get("errorMessage") or {}).get("message") or "")


def _list(items: Iterable[str]) -> str:
    return "<ul>" + "".join(f"<li>{item}</li>" for item in items) + "</ul>"


def _rows(names: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    head = "".join(f"<th>{escape(name)}" for name in names)
    lines = "".join("<tr>" + "".join(f"<td>{escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table><tr>{head}</tr>{lines}</table>"


def _advice(status: str) -> str:
    if status == "Complete":
        return "Run recipe 8 to see a failure, or 9 to cancel a run: mark the task as failed while it waits."
    if status == "Failed":
        return "On a live system: mend what the error says and clear the task, which starts a new job group."
    if status == "Canceled":
        return "Clear the task: it starts a new job group."
    return "Reload this page to see how far it is. Mark the task as failed, and the job group is canceled."
