"""The launch of a job group: how to request it, and how to recognize it in a list."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_provider_trifacta.api.answers import StartedJobGroup
from airflow_provider_trifacta.api.error_answers import is_permanent_refusal, says_gone, says_no_such_route
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaConfigurationError,
)
from airflow_provider_trifacta.api.ids import id_of, same_id
from airflow_provider_trifacta.api.messages import Id, Operation
from airflow_provider_trifacta.api.operations import get_resource, run_job_group
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.run_request import parameters_by_name
from airflow_provider_trifacta.api.runs.job_group import JOB_GROUPS
from airflow_provider_trifacta.api.runs.job_group_rows import JobGroupRow, read_row
from airflow_provider_trifacta.api.runs.kind import FoundRun, RefusalHints, RunRef, ref_of
from airflow_provider_trifacta.api.runs.sources import (
    OTHER_SOURCES,
    not_from_the_api,
    read_library,
    server_says_api,
)
from airflow_provider_trifacta.api.timestamps import timestamp_of

#: Maximum number of job groups that a launch looks up individually because lists do not specify their recipe.
_MOST_LOOKED_UP = 50
#: Seconds by which a returned reference date may differ: some releases may omit milliseconds.
_REFERENCE_DATE_MARGIN = 1.0


class JobGroupLaunch:
    """The start of a recipe (``runJobGroup``), and the search for it (``listJobLibrary``).

    The recipe, user, time and reference date of a row have to match, as far as the row specifies them, and it must
    not be part of a flow run. If the recipe is unknown, or the source is a value other than ``api``, the row is
    returned with a *doubt*: it may be the run that was started, so no second one may be started.

    Values documented for other sources (``ui``, ``schedule``) exclude a row, but only once the server has shown a
    job group of this user with the source ``api``. Before that, the server may use them for runs that the API
    started; after that, a scheduled run must not stop tasks needlessly.

    :raises TrifactaConfigurationError: names the argument that cannot be used.
    """

    kind = JOB_GROUPS
    refusal_hints = RefusalHints(
        missing=(
            "Check wrangled_dataset_id: it is the number after recipe= in the URL of the flow, in the workspace "
            "of the token."
        ),
        invalid="Check the arguments of the task, and that the recipe has an output.",
    )

    def __init__(
        self,
        wrangled_dataset_id: Id,
        *,
        run_parameters: Mapping[str, str | int | float | bool] | None = None,
        overrides: Mapping[str, Any] | None = None,
        reference_date: datetime | str | None = None,
        request_body_extra: Mapping[str, Any] | None = None,
    ) -> None:
        self._start = functools.partial(
            run_job_group,
            wrangled_dataset_id,
            run_parameters=run_parameters,
            overrides=overrides,
            reference_date=reference_date,
            request_body_extra=request_body_extra,
        )
        body = self._start().request.body or {}
        if body.get("testMode"):
            raise TrifactaConfigurationError(
                "request_body_extra: testMode starts nothing, so there is nothing to wait for. "
                "Use TrifactaHook.run_job_group to check a request"
            )
        self.subject_id = str(body["wrangledDataset"]["id"])
        parameters = body.get("runParameters")
        self.run_parameters = parameters_by_name(parameters)
        self.overrides = body.get("overrides")
        self._reference_date = timestamp_of(
            parameters.get("referenceDate") if isinstance(parameters, Mapping) else None
        )
        #: The possible sources of a job group of this launch; the body may specify another one.
        self._sources = {"api", str(body.get("ranfrom", "api")).lower()}
        #: The rows looked up for job groups whose list row lacks the recipe. They do not change.
        self._looked_up: dict[int, JobGroupRow | None] = {}

    @property
    def subject(self) -> str:
        """The object to run, for users."""
        return f"recipe {self.subject_id}"

    def start(self, execution_id: str) -> Operation[StartedJobGroup]:
        """Return the call that starts it."""
        return self._start(execution_id=execution_id)

    def started(self, answer: StartedJobGroup) -> RunRef | None:
        """Return the job group, None when the answer names none."""
        job_group_id = id_of(answer.get("id"))
        return None if job_group_id is None else ref_of(self, job_group_id)

    def find(self, since: float, person_id: str | None) -> Procedure[list[FoundRun]]:
        """Find the job groups that could be it.

        :raises TrifactaApiError: a call failed, or too many job groups would have to be looked up individually.
        """
        read = yield from read_library(since)
        listed = [row for row in read if row is not None]
        rows = yield from self._completed([row for row in listed if self._may_be(row, since, person_id)])
        rows = [row for row in rows if self._may_be(row, since, person_id)]
        if any(map(self._names_somebody_else, rows)) and (yield from server_says_api(listed, person_id)):
            rows = [row for row in rows if not self._names_somebody_else(row)]
        if not rows and len(listed) < len(read):
            raise TrifactaAnswerNotUnderstood(
                method="GET",
                path="/v4/jobLibrary",
                message=f"{len(read) - len(listed)} job groups in the list have no usable id",
            )
        return [FoundRun(row.id, row.status, self._doubt(row)) for row in rows]

    def _may_be(self, row: JobGroupRow, since: float, person_id: str | None) -> bool:
        """Return whether nothing in a row contradicts the launch, apart from its source."""
        if row.flow_run_id is not None or same_id(row.recipe_id, self.subject_id) is False:
            return False
        if same_id(row.creator_id, person_id) is False:
            return False
        if row.created_at is not None and row.created_at.timestamp() < since:
            return False
        if row.reference_date is None or self._reference_date is None:
            return True
        return abs((row.reference_date - self._reference_date).total_seconds()) < _REFERENCE_DATE_MARGIN

    def _names_our_source(self, row: JobGroupRow) -> bool:
        return row.source is None or row.source.lower() in self._sources

    def _names_somebody_else(self, row: JobGroupRow) -> bool:
        return not self._names_our_source(row) and str(row.source).lower() in OTHER_SOURCES

    def _doubt(self, row: JobGroupRow) -> str | None:
        if same_id(row.recipe_id, self.subject_id) is None:
            return "the recipe it ran cannot be read"
        if not self._names_our_source(row):
            return not_from_the_api(row.source)
        return None

    # --------------------------------------------------------------------------------------------- incomplete rows

    def _completed(self, rows: list[JobGroupRow]) -> Procedure[list[JobGroupRow]]:
        """Complete the rows that lack the recipe by looking them up; drop those that no longer exist."""
        missing = [row for row in rows if same_id(row.recipe_id, self.subject_id) is None]
        new = [row for row in missing if row.id not in self._looked_up]
        if len(self._looked_up) + len(new) > _MOST_LOOKED_UP:
            raise TrifactaApiError(
                method="GET",
                path="/v4/jobLibrary",
                message=(
                    f"{len(missing)} job groups match, but the list does not report which recipe they ran; "
                    f"at most {_MOST_LOOKED_UP} are looked up"
                ),
            )
        for row in new:
            self._looked_up[row.id] = yield from self._look_up(row)
        found = {row.id: self._looked_up[row.id] for row in missing}
        completed = ((row, found.get(row.id, row)) for row in rows)
        return [row.completed_by(more) for row, more in completed if more is not None]

    def _look_up(self, row: JobGroupRow) -> Procedure[JobGroupRow | None]:
        """Read the row from the job group itself; None when it no longer exists."""
        try:
            # Not as a typed job group, which would drop a recipe in another spelling.
            job_group = yield get_resource("jobGroups", row.id, embed="wrangledDataset")
        except TrifactaApiError as error:
            if says_gone(error):
                return None
            if is_permanent_refusal(error) or says_no_such_route(error):
                return row
            raise
        return read_row({**job_group, "id": row.id})
