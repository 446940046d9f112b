"""HTML pages for users: the targets of links in logs and of the buttons in Airflow."""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from html import escape

from starlette.responses import Response

from airflow_provider_trifacta.emulator import oauth_page
from airflow_provider_trifacta.emulator.rendering import bullets, page, table, table_of_values
from airflow_provider_trifacta.emulator.runs import Runs
from airflow_provider_trifacta.emulator.state import Row, State
from airflow_provider_trifacta.emulator.world import RECIPES

_LATEST = 50
_TRY = (
    "Recipe 7 completes, 8 fails in its wrangle job, 9 runs until it is canceled, 10 fails while publishing, 11 "
    "stays Pending for a while first. Flow 301 runs until it is canceled, 302 completes, 303 has no output, 304 "
    "fails in one of its recipes. Plan 88 runs until it is canceled, 89 completes, 90 fails in its second node."
)


class Pages:
    """Renders the pages. They show no token, and viewing them does not count as a poll.

    :param prefix: the path in front of all routes.
    """

    def __init__(self, state: State, runs: Runs, prefix: str) -> None:
        self._state = state
        self._runs = runs
        self._prefix = prefix

    def find(self, path: str) -> Callable[[], Response] | None:
        """Return a function that renders the page at a path, None if there is no such page."""
        if path in (f"{self._prefix}/", self._prefix):
            return self._home
        match = re.fullmatch(rf"{re.escape(self._prefix)}/(jobs|flows|plans)(?:/([^/]+))?/?", path)
        if match is None:
            return None
        if match[2] is None:
            return {"jobs": self._job_groups, "plans": self._plans}.get(match[1])
        one = {"jobs": self._job_group, "flows": self._flow, "plans": self._plan}[match[1]]
        return functools.partial(one, match[2])

    def _home(self) -> Response:
        behaviours = ", ".join(f"{recipe.id} ({recipe.behaviour})" for recipe in RECIPES)
        content = (
            "<p>This server speaks the v4 API of Trifacta. Nothing here is real.</p>"
            f"<h2>{self._list_link('jobs', 'Job groups')}</h2>"
            + self._latest_job_groups()
            + "<h2>Flows</h2>"
            + bullets(self._flow_link(flow) for flow in self._state.rows("flows"))
            + f"<h2>{self._list_link('plans', 'Plans')}</h2>"
            + bullets(self._plan_link(plan) for plan in self._state.rows("plans"))
            + f"<h2>{self._list_link(oauth_page.PATH[1:], oauth_page.TITLE)}</h2>"
            + f"<h2>What to try</h2><p>{escape(_TRY)}</p><p>Recipes at startup: {escape(behaviours)}.</p>"
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
        content = (
            bullets(facts) + "<h2>Jobs</h2>" + table_of_values(("Job", "Type", "Status", "Done", "Error"), rows)
        )
        if status == "Complete":
            outputs = bullets(escape(str(path)) for path in job_group["_files"])
            content += f"<h2>Outputs</h2>{outputs}<p>Nothing is actually written.</p>"
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
            + table_of_values(
                ("Recipe", "Name", "Behaviour"), [(r["id"], r["name"], r["_behaviour"]) for r in recipes]
            )
            + "<h2>Job groups</h2>"
            + (self._table(job_groups[::-1][:_LATEST]) if job_groups else "<p>None yet: run a recipe.</p>")
            + "<h2>What to try</h2><p>Run a recipe by its number, as wrangled_dataset_id.</p>"
        )
        return self._page(f"Flow {identity}: {flow['name']}", content)

    def _job_groups(self) -> Response:
        return self._page("Job groups", self._latest_job_groups())

    def _plans(self) -> Response:
        rows = []
        for plan in self._state.rows("plans"):
            latest = self._plan_runs(plan)[:1]
            rows.append((self._plan_link(plan), *(_run_cells(latest[0]) if latest else ("", "never", ""))))
        return self._page("Plans", table(("Plan", "Latest run", "Status", "Started"), rows))

    def _plan(self, identity: str) -> Response:
        plan = self._state.tables.get("plans", {}).get(identity)
        if plan is None:
            return self._missing(f"There is no plan {identity}.")
        nodes = [
            (escape(str(node["name"])), self._node(self._state.get("flows", node["flow"]["id"], deleted=True)))
            for node in plan["planNodes"]["data"]
        ]
        runs = self._plan_runs(plan)[:_LATEST]
        content = (
            "<h2>Nodes</h2>"
            + table(("Node", "Flow"), nodes)
            + "<h2>Runs</h2>"
            + (table(("Run", "Status", "Started"), map(_run_cells, runs)) if runs else "<p>None yet.</p>")
            + ("<h2>Job groups of the latest run</h2>" + self._table(self._parts(runs[0])) if runs else "")
            + "<h2>What to try</h2><p>Run it by its number, as plan_id.</p>"
        )
        return self._page(f"Plan {identity}: {plan['name']}", content)

    def _plan_runs(self, plan: Row) -> list[Row]:
        """Return the runs of a plan in their current state, latest first."""
        rows = [row for row in self._state.rows("planSnapshotRuns") if row["plan"]["id"] == plan["id"]]
        return [self._runs.look_at_plan_run(row) for row in rows[::-1]]

    def _parts(self, plan_run: Row) -> list[Row]:
        """Return the job groups of a plan run."""
        flow_runs = [self._state.get("flowRuns", identity) for identity in plan_run["_flowRuns"]]
        return [job_group for flow_run in flow_runs for job_group in self._runs.job_groups_of(flow_run)]

    def _node(self, flow: Row) -> str:
        return f"{self._flow_link(flow)}{', deleted' if flow.get('_deleted') else ''}"

    def _missing(self, text: str) -> Response:
        hint = "Without a file, the server loses its state when it stops."
        return self._page("Not found", f"<p>{escape(text)} {hint}</p>", 404)

    def _latest_job_groups(self) -> str:
        self._runs.look_at_all()
        job_groups = list(self._state.rows("jobGroups"))[::-1][:_LATEST]
        return self._table(job_groups) if job_groups else "<p>None yet: run a recipe.</p>"

    def _table(self, job_groups: Iterable[Row]) -> str:
        rows = [
            (
                self._link("jobs", row["id"], str(row["id"])),
                escape(str(row["status"])),
                _named(self._state.get("wrangledDatasets", row["wrangledDataset"]["id"], deleted=True)),
                escape(row["createdAt"]),
            )
            for row in job_groups
        ]
        return table(("Job group", "Status", "Recipe", "Started"), rows)

    def _flow_link(self, flow: Row) -> str:
        return self._link("flows", flow["id"], f"{flow['name']} ({flow['id']})")

    def _plan_link(self, plan: Row) -> str:
        return self._link("plans", plan["id"], f"{plan['name']} ({plan['id']})")

    def _list_link(self, kind: str, text: str) -> str:
        return f'<a href="{escape(self._prefix)}/{kind}">{escape(text)}</a>'

    def _link(self, kind: str, identity: object, text: str) -> str:
        return f'<a href="{escape(self._prefix)}/{kind}/{escape(str(identity))}">{escape(text)}</a>'

    def _page(self, title: str, content: str, status: int = 200) -> Response:
        return page(self._prefix, title, content, status)


def _named(recipe: Row) -> str:
    return escape(f"{recipe['name']} ({recipe['id']})")


def _message(job: Row) -> str:
    return str((job.get("errorMessage") or {}).get("message") or "")


def _run_cells(plan_run: Row) -> tuple[str, str, str]:
    identity, status, started = (escape(str(plan_run[name])) for name in ("id", "status", "createdAt"))
    return identity, status, started


def _advice(status: str) -> str:
    if status == "Complete":
        return "Run recipe 8 to see a failure, or 9 to cancel a run: mark the task as failed while it waits."
    if status == "Failed":
        return "On a live system: fix what the error reports, then clear the task, which starts a new job group."
    if status == "Canceled":
        return "Clear the task: it starts a new job group."
    return "Reload this page to see its progress. Mark the task as failed to cancel the job group."
