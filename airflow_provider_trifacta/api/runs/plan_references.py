"""Which plan a plan run ran: what a plan run refers to may be a snapshot (api/README.md, section 5)."""

from __future__ import annotations

from typing import Literal

from airflow_provider_trifacta.api.ids import same_id
from airflow_provider_trifacta.api.operations import list_plans
from airflow_provider_trifacta.api.paging import read_all
from airflow_provider_trifacta.api.procedures import Procedure

#: Maximum number of pages, of a hundred plans each.
_MOST_PAGES = 50
#: Maximum number of runs that are remembered.
_MOST_RUNS = 10_000
#: Maximum seconds to repeat the call for a page.
_BUDGET = 20.0


class PlanReferences:
    """What the plan runs of a server refer to, learned from the plans and their latest runs (``listPlans``)."""

    def __init__(self) -> None:
        #: What they refer to; None if that is not known yet.
        self.refer_to: Literal["plans", "snapshots"] | None = None
        self._plan_of: dict[str, str] = {}

    def find(self, run_id: str, referred: str | None) -> Procedure[str | None]:
        """Find the plan of a plan run; None if it cannot be known.

        :param referred: what the run refers to; None if that is not known.
        :raises TrifactaApiError: the plans could not be read.
        """
        if run_id not in self._plan_of and (self.refer_to != "plans" or referred is None):
            yield from self._read()
        found = self._plan_of.get(run_id)
        if self.refer_to is None and found is not None and referred is not None:
            self.refer_to = "plans" if same_id(found, referred) else "snapshots"
        if self.refer_to == "snapshots":
            return found
        return found or referred

    def _read(self) -> Procedure[None]:
        listing = list_plans().as_written(_MOST_PAGES)
        for plan in (yield from read_all(listing, budget=_BUDGET)):
            latest = plan.get("latestPlanSnapshotRun") if isinstance(plan, dict) else None
            if not isinstance(latest, dict) or latest.get("id") is None or plan.get("id") is None:
                continue
            self._plan_of[str(latest["id"])] = str(plan["id"])
            if len(self._plan_of) > _MOST_RUNS:
                del self._plan_of[next(iter(self._plan_of))]
            reference = latest.get("plan")
            if self.refer_to is None and isinstance(reference, dict) and reference.get("id") is not None:
                self.refer_to = "plans" if str(reference["id"]) == str(plan["id"]) else "snapshots"
