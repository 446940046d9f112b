"""A job group as something that is started once: how to ask for it, and how to recognise it in a list."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from airflow_provider_trifacta.api.answers import StartedJobGroup
from airflow_provider_trifacta.api.descriptions import recipe_of
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.messages import Id, JsonObject, Operation
from airflow_provider_trifacta.api.operations import get_job_group, list_job_library, run_job_group
from airflow_provider_trifacta.api.paging import read_all
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.submission import Run
from airflow_provider_trifacta.api.timestamps import timestamp_of


class JobGroupLaunch:
    """The start of a recipe (``runJobGroup``), and the search for it (``listJobLibrary``).

    :raises TrifactaConfigurationError: names the argument that cannot be used.
    """

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
        self.wrangled_dataset_id = str(body["wrangledDataset"]["id"])
        self._reference_date = timestamp_of((body.get("runParameters") or {}).get("referenceDate"))

    @property
    def what(self) -> str:
        """What is run, for a person."""
        return f"recipe {self.wrangled_dataset_id}"

    def start(self, execution_id: str) -> Operation[StartedJobGroup]:
        """Return the call that starts it."""
        return self._start(execution_id=execution_id)

    def id_of(self, answer: JsonObject) -> int | None:
        """Return the id of the job group, None when the answer holds none."""
        identity = answer.get("id")
        try:
            return None if isinstance(identity, (bool, float)) else int(identity)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            return None

    def find(self, since: float, person_id: str | None) -> Procedure[list[Run]]:
        """Find the job groups that could be it: recipe, user, source, moment and reference date agree.

        The server is asked to filter, and is not relied on to have done it.
        """
        rows = yield from read_all(
            list_job_library(
                ranfrom="api", run_by="currentUser", date_filter={"createdAt": {"gte": int(since * 1000)}}
            )
        )
        found = []
        for row in rows:
            if not self._may_be(row, since, person_id):
                continue
            recipe = recipe_of(row)
            if "id" not in recipe:
                recipe = recipe_of((yield get_job_group(row["id"], embed="wrangledDataset")))
            if str(recipe.get("id")) == self.wrangled_dataset_id:
                found.append(Run(row["id"], row.get("status")))
        return found

    def _may_be(self, row: Mapping[str, Any], since: float, person_id: str | None) -> bool:
        if row.get("id") is None or row.get("ranfrom") not in (None, "api") or row.get("flowrun"):
            return False
        creator = (row.get("creator") or {}).get("id")
        if person_id is not None and creator is not None and str(creator) != person_id:
            return False
        created = timestamp_of(row.get("createdAt"))
        if created is not None and created.timestamp() < since:
            return False
        reference_date = timestamp_of(row.get("runParameterReferenceDate"))
        return self._reference_date is None or reference_date in (None, self._reference_date)
