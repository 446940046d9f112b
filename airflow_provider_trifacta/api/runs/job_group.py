"""Job groups as a kind of run."""

from __future__ import annotations

from airflow_provider_trifacta.api.application import Application
from airflow_provider_trifacta.api.messages import Id
from airflow_provider_trifacta.api.operations import (
    cancel_job_group,
    get_job_group,
    get_job_group_status,
    get_jobs_for_job_group,
)
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.descriptions import describe_job_group
from airflow_provider_trifacta.api.runs.kind import Diagnosis, KindName, RunDescription, RunKind, RunRef, Summary
from airflow_provider_trifacta.api.runs.reports import explain_failure, progress_of, read_last_change, summary_of
from airflow_provider_trifacta.api.runs.result import RunResult, read_all_outputs


class _JobGroups:
    """Implements :class:`RunKind` for job groups: the runs of one recipe."""

    name: KindName = "job_group"
    noun = "job group"
    start_operation = "run_job_group"

    def status(self, run: RunRef, *, budget: float | None = None) -> Procedure[str]:
        """Read ``getJobGroupStatus``."""
        status: str = yield get_job_group_status(run.id).within(budget)
        return status

    def last_change(self, run: RunRef) -> Procedure[float | None]:
        """Read ``updatedAt`` of ``getJobGroup``."""
        return (yield from read_last_change(get_job_group(run.id)))

    def progress(self, run: RunRef) -> Procedure[str]:
        """Read ``getJobsForJobGroup``."""
        return str(progress_of((yield get_jobs_for_job_group(run.id).within(0))))

    def diagnose(self, run: RunRef) -> Procedure[Diagnosis]:
        """Read ``getJobsForJobGroup``."""
        return Diagnosis(tuple((yield from explain_failure(run.id))))

    def started_nothing(self, run: RunRef) -> Procedure[bool]:
        """Return False: a job group always runs something."""
        return False
        yield

    def cancel(self, run: RunRef, *, budget: float | None = None) -> Procedure[str | None]:
        """Call ``cancelJobGroup``."""
        yield cancel_job_group(run.id).within(budget)
        return None

    def cancel_side_by_side(self, run: RunRef, most: int) -> list[Procedure[str | None]]:
        """Return one step: it has no parts to cancel individually."""
        return [self.cancel(run)]

    def describe(self, run: RunRef, *, budget: float) -> Procedure[RunDescription]:
        """Read ``getJobGroup`` with its recipe and flow."""
        return (yield from describe_job_group(run.id, budget=budget))

    def job_groups(self, run: RunRef, *, budget: float | None = None) -> Procedure[tuple[Id, ...]]:
        """Return the job group itself."""
        return (run.id,)
        yield

    def result(self, run: RunRef, *, budget: float | None = None) -> Procedure[RunResult]:
        """Read ``getJobGroupOutputs``."""
        return (yield from read_all_outputs(RunResult((run.id,), unread=(run.id,)), budget=budget))

    def summary(self, result: RunResult) -> Summary:
        """Return the files and tables that it wrote."""
        return summary_of(result.outputs)

    def page(self, application: Application, run: RunRef) -> str:
        """Return the URL of the job group's page."""
        return application.job_group_url(run.id)


JOB_GROUPS: RunKind = _JobGroups()
