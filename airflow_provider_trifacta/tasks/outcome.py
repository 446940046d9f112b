"""How the end of a job group becomes the end of a task: the same for operators and sensors, in every mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.descriptions import JobGroupDescription, describe_job_group
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.operations import get_job_group_outputs
from airflow_provider_trifacta.api.reports import (
    DIAGNOSIS_BUDGET,
    FailedJob,
    count_outputs,
    describe_outputs,
    explain_failure,
)
from airflow_provider_trifacta.api.statuses import is_canceled, is_success
from airflow_provider_trifacta.api.text import sentence
from airflow_provider_trifacta.api.timestamps import spoken
from airflow_provider_trifacta.exceptions import (
    TrifactaJobGroupCanceled,
    TrifactaJobGroupError,
    TrifactaJobGroupFailed,
    TrifactaJobGroupStatusUnknown,
    TrifactaJobGroupTimeout,
    TrifactaWaitFailed,
)

if TYPE_CHECKING:
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

#: So many outputs stand in the summary itself; more are listed in a group that Airflow folds.
_OUTPUTS_IN_SUMMARY = 3
_OUTPUTS_LISTED = 500
#: So many failed jobs are named in an error.
_JOBS_NAMED = 20

_LOOK_AT_THE_LOG = "The page of the job group has the job's log."
# api/README.md, section 6: neither overrides nor write settings are validated for runs over the API.
_CHECK_THE_OUTPUT = (
    "What is written, and where, is not checked before a run that is started over the API: check the output of "
    "the recipe, the overrides of the task, and that the user of the token may write there."
)
_ADVICE_BY_JOB_TYPE = {"filewriter": _CHECK_THE_OUTPUT, "publish": _CHECK_THE_OUTPUT}
NEW_ONE = "A retry of the task, or clearing it, starts a new one."
_NEW_ONE_ELSEWHERE = "This task only waits for it: run what started it again, and clear this task."


def link_of(hook: TrifactaHook, job_group_id: int | str) -> str:
    """Return the page of a job group in the application; without a usable connection, words for it."""
    link = "its page in the application"
    with decoration(f"The link to job group {job_group_id} is not known", hook.log):
        link = hook.client.settings.application.job_group_url(job_group_id)
    return link


def describe(hook: TrifactaHook, job_group_id: int | str, log: Log, *, budget: float) -> JobGroupDescription:
    """Return what a job group runs, nothing when that cannot be read.

    :param budget: seconds to try for.
    """
    description = JobGroupDescription()
    with decoration(f"What job group {job_group_id} runs could not be read", log):
        description = hook.run(describe_job_group(job_group_id, budget=budget))
    return description


def conclude(hook: TrifactaHook, job_group_id: int | str, status: str, log: Log, *, own: bool = True) -> None:
    """Return when a final status is a success, after logging a summary.

    :param own: whether the task started the job group, or only waits for it.
    :raises TrifactaJobGroupError: it is not; says which jobs failed, and why.
    """
    link = link_of(hook, job_group_id)
    description = describe(hook, job_group_id, log, budget=DIAGNOSIS_BUDGET)
    if is_success(status):
        _log_summary(hook, job_group_id, description, link, log)
        return
    canceled = is_canceled(status)
    failed_jobs: list[FailedJob] = []
    with decoration(f"Why job group {job_group_id} did not succeed could not be read", log):
        failed_jobs = hook.run(explain_failure(job_group_id))
    why = _why(job_group_id, description, failed_jobs, canceled=canceled, own=own, link=link)
    error = (TrifactaJobGroupCanceled if canceled else TrifactaJobGroupFailed)(
        " ".join(why),
        job_group_id=job_group_id,
        status=status,
        link=link,
        failed_jobs=failed_jobs,
    )
    # Not left to the end of the task: a sensor with soft_fail does not end with this error.
    error.log_once(log, why)
    raise error


def status_unknown(
    hook: TrifactaHook, job_group_id: int | str, status: str | None, *, own: bool = True
) -> TrifactaJobGroupError:
    """Return the error for a status word that stayed unknown.

    :param own: whether the task started the job group, or only waits for it.
    """
    link = link_of(hook, job_group_id)
    go_on = "A retry of the task" if own else "Clearing the task"
    return TrifactaJobGroupStatusUnknown(
        f"Job group {job_group_id} has the status {status!r}, which is neither success nor failure, and kept it "
        f"for too long. It may still be running. {go_on} goes on with it. See {link}",
        job_group_id=job_group_id,
        status=status,
        link=link,
    )


def wait_failed(hook: TrifactaHook, job_group_id: int | str, reason: str) -> TrifactaWaitFailed:
    """Return the error for a wait that could not look."""
    return TrifactaWaitFailed(
        f"The status of job group {job_group_id} could not be read, so it may still be running: "
        f"{sentence(reason)} A retry of the task goes on with it. See {link_of(hook, job_group_id)}"
    )


def deadline_passed(
    hook: TrifactaHook, job_group_id: int | str, status: str | None, limit: object, canceled: str
) -> TrifactaJobGroupTimeout:
    """Return the error for a job group that did not end in time.

    :param limit: the ``execution_timeout``.
    :param canceled: how canceling it went.
    """
    link = link_of(hook, job_group_id)
    return TrifactaJobGroupTimeout(
        f"Job group {job_group_id} did not end within the execution_timeout of {limit}; {sentence(canceled)} "
        f"{NEW_ONE} See {link}",
        job_group_id=job_group_id,
        status=status,
        link=link,
    )


def _why(
    job_group_id: int | str,
    description: JobGroupDescription,
    failed_jobs: list[FailedJob],
    *,
    canceled: bool,
    own: bool,
    link: str,
) -> list[str]:
    """Return the sentences that explain a bad end."""
    if canceled:
        said = [f"Job group {job_group_id} was canceled, in the application or over the API."]
        failed_jobs = [job for job in failed_jobs if job.message]
    elif failed_jobs:
        said = [f"Job group {job_group_id} failed:"]
    else:
        said = [f"Job group {job_group_id} failed: the API does not say which of its jobs, or why."]
    said += [sentence(str(job)) for job in failed_jobs[:_JOBS_NAMED]]
    if len(failed_jobs) > _JOBS_NAMED:
        said.append(f"And {len(failed_jobs) - _JOBS_NAMED} more.")
    if description.recipe_id is not None:
        duration = f" for {spoken(description.seconds)}" if description.seconds is not None else ""
        said.append(f"It ran {description}{duration}.")
    if not canceled:
        types = [job.type for job in failed_jobs]
        said += dict.fromkeys(_ADVICE_BY_JOB_TYPE.get(kind, _LOOK_AT_THE_LOG) for kind in types or [""])
    return [*said, NEW_ONE if own else _NEW_ONE_ELSEWHERE, f"See {link}"]


def _log_summary(
    hook: TrifactaHook, job_group_id: int | str, description: JobGroupDescription, link: str, log: Log
) -> None:
    after = f" after {spoken(description.seconds)}" if description.seconds is not None else ""
    lines: list[str] = []
    wrote = ""
    with decoration(f"What job group {job_group_id} wrote could not be read", log):
        outputs = hook.send(get_job_group_outputs(job_group_id).within(DIAGNOSIS_BUDGET))
        lines = describe_outputs(outputs)
        few = len(lines) <= _OUTPUTS_IN_SUMMARY
        wrote = f" It wrote {(', '.join(lines) or 'nothing') if few else count_outputs(outputs)}."
    log.info("Job group %s is Complete%s.%s See %s", job_group_id, after, wrote, link)
    if len(lines) > _OUTPUTS_IN_SUMMARY:
        log.info("::group::What job group %s wrote", job_group_id)
        for line in lines[:_OUTPUTS_LISTED]:
            log.info("%s", line)
        if len(lines) > _OUTPUTS_LISTED:
            log.info("and %d more", len(lines) - _OUTPUTS_LISTED)
        log.info("::endgroup::")
