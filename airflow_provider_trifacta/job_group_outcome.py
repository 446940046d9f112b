"""How the end of a job group becomes the end of a task: the same for operators and sensors, in every mode."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provider_trifacta.api.errors import TrifactaApiError
from airflow_provider_trifacta.api.operations import get_job_group_outputs
from airflow_provider_trifacta.api.reports import DIAGNOSIS_BUDGET, describe_outputs, explain_failure
from airflow_provider_trifacta.api.statuses import is_canceled, is_success
from airflow_provider_trifacta.api.waiting import Log
from airflow_provider_trifacta.exceptions import (
    TrifactaJobGroupCanceled,
    TrifactaJobGroupError,
    TrifactaJobGroupFailed,
    TrifactaJobGroupStatusUnknown,
    TrifactaWaitFailed,
)
from airflow_provider_trifacta.links import job_group_url

if TYPE_CHECKING:
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook


def link_of(hook: TrifactaHook, job_group_id: int | str) -> str:
    """Return the page of a job group in the application."""
    return job_group_url(hook.client.settings.base_url, job_group_id)


def conclude(hook: TrifactaHook, job_group_id: int | str, status: str, log: Log) -> None:
    """Return when a final status is a success, after logging the outputs.

    :raises TrifactaJobGroupError: it is not; says which jobs failed, and why.
    """
    if is_success(status):
        _log_outputs(hook, job_group_id, log)
        return
    link = link_of(hook, job_group_id)
    failed_jobs = hook.run(explain_failure(job_group_id))
    reasons = "; ".join(str(job) for job in failed_jobs) or "the API does not say which of its jobs, or why"
    canceled = is_canceled(status)
    raise (TrifactaJobGroupCanceled if canceled else TrifactaJobGroupFailed)(
        f"Job group {job_group_id} {'was canceled' if canceled else 'failed'}: {reasons}. See {link}",
        job_group_id=job_group_id,
        status=status,
        link=link,
        failed_jobs=failed_jobs,
    )


def status_unknown(hook: TrifactaHook, job_group_id: int | str, status: str | None) -> TrifactaJobGroupError:
    """Return the error for a status word that stayed unknown."""
    link = link_of(hook, job_group_id)
    return TrifactaJobGroupStatusUnknown(
        f"Job group {job_group_id} has the status {status!r}, which is neither success nor failure, and kept it "
        f"for too long. It may still be running. See {link}",
        job_group_id=job_group_id,
        status=status,
        link=link,
    )


def wait_failed(job_group_id: int | str, message: str) -> TrifactaWaitFailed:
    """Return the error for a wait that could not look."""
    return TrifactaWaitFailed(
        f"The status of job group {job_group_id} could not be read, so it may still be running: {message}"
    )


def _log_outputs(hook: TrifactaHook, job_group_id: int | str, log: Log) -> None:
    try:
        outputs = hook.send(get_job_group_outputs(job_group_id).within(DIAGNOSIS_BUDGET))
    except TrifactaApiError as error:
        log.warning("Job group %s is Complete; its outputs could not be read: %s", job_group_id, error)
        return
    wrote = ", ".join(describe_outputs(outputs)) or "nothing"
    log.info("Job group %s wrote %s", job_group_id, wrote)
