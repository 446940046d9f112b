"""The launch of a plan run: how to request it, and how to recognize it in a list."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any

from airflow_provider_trifacta.api.answers import StartedPlanRun
from airflow_provider_trifacta.api.arguments import check_id
from airflow_provider_trifacta.api.errors import TrifactaRunRefused
from airflow_provider_trifacta.api.ids import id_of, same_id
from airflow_provider_trifacta.api.messages import Id, Operation
from airflow_provider_trifacta.api.operations import list_plan_snapshot_runs, run_plan
from airflow_provider_trifacta.api.paging import read_all
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.job_group_rows import reference_of
from airflow_provider_trifacta.api.runs.kind import FoundRun, RefusalHints, RunRef, ref_of
from airflow_provider_trifacta.api.runs.plan_run import PLAN_RUNS, missing_references
from airflow_provider_trifacta.api.runs.sources import MOST_PAGES
from airflow_provider_trifacta.api.statuses import status_word
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.api.timestamps import timestamp_of

#: A non-numeric id: its form is undocumented ("integer or string"). We require a letter.
_ID = re.compile(r"(?=.*[A-Za-z])[0-9A-Za-z_.:~-]{1,100}")


class PlanLaunch:
    """The start of a plan (``runPlan``), and the search for it (``listPlanSnapshotRuns``).

    :raises TrifactaConfigurationError: names the argument that cannot be used.
    """

    kind = PLAN_RUNS
    refusal_hints = RefusalHints(
        missing="Check plan_id: it is the number after /plans/ in its URL, in the workspace of the token.",
        invalid="Check the arguments of the task, and in the application that the plan can be run.",
    )

    def __init__(
        self,
        plan_id: Id,
        *,
        run_parameters: Mapping[str, Mapping[str, str | int | float | bool]] | None = None,
        request_body_extra: Mapping[str, Any] | None = None,
    ) -> None:
        self.subject_id = str(check_id("plan_id", plan_id))
        self._start = functools.partial(
            run_plan, self.subject_id, run_parameters=run_parameters, request_body_extra=request_body_extra
        )
        body = self._start().request.body or {}
        self.run_parameters = run_parameters or body.get("planNodeOverrides")
        self.overrides = None

    @property
    def subject(self) -> str:
        """The object to run, for users."""
        return f"plan {self.subject_id}"

    def start(self, execution_id: str) -> Operation[StartedPlanRun]:
        """Return the call that starts it."""
        return self._start(execution_id=execution_id)

    def started(self, answer: StartedPlanRun) -> RunRef | None:
        """Return the plan run, None if the answer names none.

        :raises TrifactaRunRefused: the plan is not valid, despite the success code (api/README.md, section 5).
        """
        run_id = _run_id(answer.get("planSnapshotRunId"))
        run = None if run_id is None else ref_of(self, run_id)
        verdict = answer.get("validationStatus")
        if verdict not in (None, "Valid"):
            raise TrifactaRunRefused(
                method="POST",
                path=f"/v4/plans/{self.subject_id}/run",
                name=line(str(verdict), 100),
                message=f"the plan is not valid ({line(str(verdict), 100)}), so it does not run",
                run_id=None if run is None else run.id,
                explain=functools.partial(missing_references, self.subject_id),
            )
        return run

    def find(self, since: float, person_id: str | None) -> Procedure[list[FoundRun]]:
        """Find the plan runs that could be it."""
        listing = list_plan_snapshot_runs(
            run_by="currentUser", date_filter={"createdAt": {"gte": int(since * 1000)}}
        )
        found = []
        for row in (yield from read_all(listing.as_written(MOST_PAGES))):
            run_id = _run_id(row.get("id")) if isinstance(row, Mapping) else None
            if run_id is None:
                continue
            created = timestamp_of(row.get("createdAt"))
            if created is not None and created.timestamp() < since:
                continue
            if same_id(reference_of(row, ("creator", "creatorid")), person_id) is False:
                continue
            same = same_id(reference_of(row, ("plan", "planid")), self.subject_id)
            if same is not False:
                doubt = None if same else "the plan it ran cannot be read"
                status = row.get("status")
                found.append(FoundRun(run_id, status_word(status) if isinstance(status, str) else None, doubt))
        return found


def _run_id(value: Any) -> Id | None:
    """Return the id of a plan run unchanged; None if it is not safe in a URL and a log."""
    if id_of(value) is not None:
        identity: Id = value
        return identity
    return value if isinstance(value, str) and _ID.fullmatch(value) else None
