"""Job groups, flow runs and plan runs: how they start, progress, end and are canceled."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_trifacta.emulator.clock import Clock, Pace, epoch, timestamp
from airflow_provider_trifacta.emulator.problems import Problem
from airflow_provider_trifacta.emulator.state import WORKSPACE, Row, State

FINAL = frozenset({"Complete", "Failed", "Canceled"})


@dataclass(frozen=True)
class Behaviour:
    """How the job groups of a recipe progress.

    :param pending: whether they stay ``Pending`` for the first half.
    :param endless: whether they run until canceled.
    :param fails_in: the type of the job that fails; the jobs after it are never started.
    :param message: why it fails.
    """

    pending: bool = False
    endless: bool = False
    fails_in: str | None = None
    message: str | None = None


BEHAVIOURS: dict[str, Behaviour] = {
    "complete": Behaviour(),
    "fail-wrangle": Behaviour(
        fails_in="wrangle",
        message="Column 'order_date' not found in the source after step 4 of the recipe",
    ),
    "endless": Behaviour(endless=True),
    "fail-publish": Behaviour(
        fails_in="publish", message="Table analytics.orders: permission denied for user trifacta"
    ),
    "pending": Behaviour(pending=True),
    "fail-filewriter": Behaviour(fails_in="filewriter", message="The output path cannot be written to"),
}

#: Up to this progress a run is ``Created``; after it, the run does its work.
_CREATED_UNTIL = 0.1


class Runs:
    """Starts runs and updates their progress. Nothing happens in between: each update computes the current state.

    :param pace: how time passes for runs.

    ``source_word`` is the source recorded for runs that the API started: ``api``, another value, or None.
    """

    def __init__(self, state: State, clock: Clock, pace: Pace) -> None:
        self._state = state
        self._clock = clock
        self.pace = pace
        self.source_word: str | None = "api"

    # ------------------------------------------------------------------------------------------------- starting

    def start_job_group(
        self,
        recipe: Row,
        person: int,
        *,
        overrides: Mapping[str, Any],
        run_parameters: Mapping[str, Any],
        flow_run: Row | None = None,
        ranfor: str = "recipe",
        ranfrom: str | None = None,
    ) -> Row:
        """Start the output of a recipe.

        :param ranfrom: the source that the request specifies; None if it specifies none.
        :raises Problem: 400, the recipe has no output object, so there is nothing to run.
        """
        output = next(
            (
                row
                for row in self._state.rows("outputObjects")
                if str(row["flownode"]["id"]) == str(recipe["id"]) and row.get("isAdhoc", True)
            ),
            None,
        )
        if output is None:
            raise Problem.validation(f"Recipe {recipe['id']} has no output object: there is nothing to run")
        settings = overrides.get("writesettings") or overrides.get("writeSettings")
        if settings is None:
            settings = [
                {"path": row.get("path")} | {"id": row["id"]}
                for row in self._state.rows("writeSettings")
                if row["_output"]["id"] == output["id"]
            ]
        publications = [row for row in self._state.rows("publications") if row["_output"]["id"] == output["id"]]
        profiled = bool(overrides.get("profiler", output.get("profiler", False)))
        behaviour = recipe.get("_behaviour", "complete")
        # Overrides are not validated: a bad path shows as a failed job (api/README.md, section 6).
        if any(not _usable(str(setting.get("path", ""))) for setting in settings):
            behaviour = "fail-filewriter"
        job_group = self._state.insert(
            "jobGroups",
            {
                "name": None,
                "description": None,
                "ranfrom": ranfrom or self.source_word,
                "ranfor": ranfor,
                "status": "Created",
                "profilingEnabled": profiled,
                "runParameterReferenceDate": run_parameters.get("referenceDate"),
                "workspace": {"id": WORKSPACE},
                "snapshot": {"id": self._state.new_id()},
                "wrangledDataset": {"id": recipe["id"]},
                "flowrun": {"id": flow_run["id"]} if flow_run else None,
                "_behaviour": behaviour,
                "_polls": 0,
                "_canceled": None,
                "_files": [str(setting.get("path")) for setting in settings],
                "_publications": [row["id"] for row in publications],
                "_parameters": (run_parameters.get("overrides") or {}).get("data", []),
                "_session": str(uuid.uuid4()),
            },
            person=person,
        )
        types = [
            "wrangle",
            "filewriter",
            *(["profile"] if profiled else []),
            *(["publish"] if publications else []),
        ]
        for kind in types:
            job: Row = {
                "status": "Created",
                "jobType": kind,
                "sampleSize": 100,
                "percentComplete": 0,
                "executionLanguage": overrides.get("execution", output.get("execution", "photon")),
                "cpJobId": None,
                "jobGroup": {"id": job_group["id"]},
                "errorMessage": None,
                "lastHeartbeatAt": None,
            }
            self._state.insert("jobs", job, person=person)
        return job_group

    def started(self, job_group: Row) -> Row:
        """Return the answer to the start of a job group."""
        ids = [job["id"] for job in self.jobs_of(job_group)]
        answer: Row = {
            "id": job_group["id"],
            "reason": "JobStarted",
            "sessionId": job_group["_session"],
            "jobs": {"data": [{"id": identity} for identity in ids]},
            "jobGraph": {
                "vertices": ids,
                "edges": [{"source": a, "target": b} for a, b in itertools.pairwise(ids)],
            },
        }
        if job_group["flowrun"]:
            answer["flowRun"] = job_group["flowrun"]
        return answer

    # ---------------------------------------------------------------------------------------------- progressing

    def jobs_of(self, job_group: Row) -> list[Row]:
        """Return the jobs of a job group, in the order they run."""
        return [job for job in self._state.rows("jobs", deleted=True) if job["jobGroup"]["id"] == job_group["id"]]

    def look(self, job_group: Row, *, poll: bool = False) -> Row:
        """Update a job group and its jobs to their current state.

        :param poll: whether this counts as a read of the status.
        """
        if job_group["status"] in FINAL:
            return job_group
        now = self._clock.now()
        behaviour = BEHAVIOURS[job_group["_behaviour"]]
        # The timestamp is rounded to milliseconds, so it may be slightly late; and a clock may be set back.
        started = min(now, epoch(job_group["createdAt"]))
        canceled = job_group["_canceled"]
        if canceled is not None and self._cancel_is_done(canceled, now, job_group["_polls"]):
            self._end_jobs_as_canceled(job_group)
            self._become(job_group, "Canceled", now)
        else:
            progress = self.pace.progress(elapsed=now - started, polls=job_group["_polls"])
            if behaviour.endless:
                progress = min(progress, 0.9)
            self._progress_jobs(job_group, behaviour, progress)
            status = _status(behaviour, progress)
            self._become(job_group, status, self._moment(job_group, behaviour, progress, started, now))
        if poll:
            job_group["_polls"] += 1
        return job_group

    def look_at_all(self) -> None:
        """Update every job group to its current state."""
        for job_group in self._state.rows("jobGroups", deleted=True):
            self.look(job_group)

    def cancel(self, job_group: Row, person: int) -> None:
        """Request the cancel of a job group. It takes effect at the second update, since real servers lag, too."""
        if self.look(job_group)["status"] not in FINAL and job_group["_canceled"] is None:
            job_group["_canceled"] = {"at": self._clock.now(), "polls": job_group["_polls"]}
            job_group["updater"] = {"id": person}

    def _cancel_is_done(self, canceled: Row, now: float, polls: int) -> bool:
        if self.pace.kind == "polls":
            return bool(polls > canceled["polls"])
        return self.pace.kind == "at once" or now - canceled["at"] >= min(1.0, self.pace.amount / 10)

    def _become(self, row: Row, status: str, moment: float) -> None:
        if row["status"] != status:
            row["status"] = status
            row["updatedAt"] = timestamp(max(moment, epoch(row["updatedAt"])))

    def _moment(self, job_group: Row, behaviour: Behaviour, progress: float, started: float, now: float) -> float:
        """Return when the current status began; this is before now only in a pace of seconds."""
        if self.pace.kind != "seconds":
            return now
        begins = [0.0, _CREATED_UNTIL, *([0.5] if behaviour.pending else []), 1.0]
        return started + self.pace.amount * max(begin for begin in begins if begin <= progress)

    def _progress_jobs(self, job_group: Row, behaviour: Behaviour, progress: float) -> None:
        jobs = self.jobs_of(job_group)
        running = [job["jobType"] for job in jobs]
        if behaviour.fails_in in running:
            running = running[: running.index(behaviour.fails_in) + 1]
        begin = 0.5 if behaviour.pending else _CREATED_UNTIL
        share = (1.0 - begin) / len(running)
        for number, job in enumerate(jobs[: len(running)]):
            done = (progress - begin - number * share) / share
            if done < 0 or (done == 0 and progress < 1):
                continue
            failed = done >= 1 - 1e-9 and job["jobType"] == behaviour.fails_in
            status = "Failed" if failed else "Complete" if done >= 1 - 1e-9 else "InProgress"
            job["percentComplete"] = min(99, int(done * 100)) if failed or status == "InProgress" else 100
            if job["status"] != status:
                job["status"] = status
                job["updatedAt"] = job["lastHeartbeatAt"] = timestamp(self._clock.now())
            if failed and job["errorMessage"] is None:
                job["errorMessage"] = {"id": self._state.new_id(), "message": behaviour.message}

    def _end_jobs_as_canceled(self, job_group: Row) -> None:
        for job in self.jobs_of(job_group):
            if job["status"] not in FINAL:
                job["status"] = "Canceled"
                job["updatedAt"] = timestamp(self._clock.now())

    # --------------------------------------------------------------------------------------- flow and plan runs

    def start_flow_run(
        self, flow: Row, recipes: list[Row], person: int, body: Mapping[str, Any], *, ranfor: str = "recipe"
    ) -> tuple[Row, list[Row]]:
        """Start the outputs of a flow, one job group each; none if the flow has no output."""
        flow_run = self._state.insert(
            "flowRuns",
            {"scheduleExecutionId": None, "requestId": str(uuid.uuid4()), "flow": {"id": flow["id"]}},
            person=person,
        )
        job_groups = []
        for recipe in recipes:
            overrides = dict((body.get("overrides") or {}).get(recipe.get("name") or "", {}))
            if "execution" in body:
                overrides.setdefault("execution", body["execution"])
            job_groups.append(
                self.start_job_group(
                    recipe,
                    person,
                    overrides=overrides,
                    run_parameters=body.get("runParameters") or {},
                    flow_run=flow_run,
                    ranfor=ranfor,
                )
            )
        return flow_run, job_groups

    def job_groups_of(self, flow_run: Row) -> list[Row]:
        """Return the job groups of a flow run."""
        return [
            row
            for row in self._state.rows("jobGroups", deleted=True)
            if row["flowrun"] and row["flowrun"]["id"] == flow_run["id"]
        ]

    def flow_run_status(self, flow_run: Row) -> str:
        """Return the status of a flow run. How job groups combine is not documented; the worst one wins."""
        return _combined([self.look(row, poll=True)["status"] for row in self.job_groups_of(flow_run)])

    def start_plan_run(self, plan: Row, person: int, overrides: list[Row]) -> Row:
        """Start a plan: its flows, all at once.

        :param overrides: ``planNodeOverrides`` of the request.
        """
        now = timestamp(self._clock.now())
        flow_runs = []
        for node in plan["planNodes"]["data"]:
            flow = self._state.get("flows", node["flow"]["id"])
            recipes = self.runnable_recipes(flow)
            if recipes:
                parameters = [
                    {"key": override["overrideKey"], "value": override["value"].get("variable", {}).get("value")}
                    for override in overrides
                    if override["handle"] == node["name"]
                ]
                body = {"runParameters": {"overrides": {"data": parameters}}}
                flow_runs.append(self.start_flow_run(flow, recipes, person, body, ranfor="plan")[0]["id"])
        run = self._state.insert(
            "planSnapshotRuns",
            {
                "status": "Created",
                "submittedAt": now,
                "startedAt": now,
                "finishedAt": None,
                "scheduleHistoryId": None,
                "failedToCancelSomeJobs": False,
                "plan": {"id": plan["id"]},
                "nextRun": None,
                "previousRun": None,
                "_flowRuns": flow_runs,
            },
            person=person,
        )
        plan["planSnapshotRunCount"] = plan.get("planSnapshotRunCount", 0) + 1
        return run

    def look_at_plan_run(self, run: Row, *, poll: bool = False) -> Row:
        """Update a plan run to its current state."""
        if run["status"] in FINAL:
            return run
        statuses = [
            self.look(job_group, poll=poll)["status"]
            for identity in run["_flowRuns"]
            for job_group in self.job_groups_of(self._state.get("flowRuns", identity))
        ]
        status = _combined(statuses)
        self._become(run, status, self._clock.now())
        if status in FINAL:
            run["finishedAt"] = timestamp(self._clock.now())
        return run

    def runnable_recipes(self, flow: Row) -> list[Row]:
        """Return the recipes of a flow that have an output."""
        with_output = {
            str(row["flownode"]["id"]) for row in self._state.rows("outputObjects") if row.get("isAdhoc", True)
        }
        return [
            row
            for row in self._state.rows("wrangledDatasets")
            if row["flow"]["id"] == flow["id"] and str(row["id"]) in with_output
        ]


def _status(behaviour: Behaviour, progress: float) -> str:
    if progress < _CREATED_UNTIL:
        return "Created"
    if progress >= 1:
        return "Failed" if behaviour.fails_in else "Complete"
    return "Pending" if behaviour.pending and progress < 0.5 else "InProgress"


def _combined(statuses: list[str]) -> str:
    if statuses and all(status == "Created" for status in statuses):
        return "Created"
    if any(status not in FINAL for status in statuses):
        return "InProgress"
    return next((word for word in ("Failed", "Canceled") if word in statuses), "Complete")


def _usable(path: str) -> bool:
    return path.startswith("/") or "://" in path
