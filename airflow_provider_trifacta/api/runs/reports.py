"""Describes the jobs and outputs of a job group in words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_trifacta.api.datasets import uri_without_credentials
from airflow_provider_trifacta.api.errors import TrifactaApiError
from airflow_provider_trifacta.api.messages import Id, JsonObject, Operation
from airflow_provider_trifacta.api.operations import get_job_group, get_jobs_for_job_group
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.kind import FailedJob, Summary
from airflow_provider_trifacta.api.statuses import RunStatus, is_canceled, is_final
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.api.timestamps import timestamp_of

#: Retry budget, in seconds, of calls that only explain a known failure.
DIAGNOSIS_BUDGET = 60.0
#: Maximum number of outputs in the summary itself; if there are more, they are listed after it.
_OUTPUTS_IN_SUMMARY = 3
#: Maximum length of a name, in characters.
_LONGEST_NAME = 200


@dataclass(frozen=True)
class Progress:
    """The progress of a job group.

    :param percent: mean over its jobs, None when they do not report any.
    """

    done: int
    jobs: int
    percent: int | None

    def __str__(self) -> str:
        text = f"{self.done} of {self.jobs} jobs done"
        return text if self.percent is None else f"{text}, {self.percent} %"


def progress_of(jobs: Iterable[JsonObject]) -> Progress:
    """Return the progress of the jobs of a job group.

    :raises Exception: their progress is not numeric.
    """
    done = 0
    percents: list[float] = []
    total = 0
    for job in jobs:
        total += 1
        percent = job.get("percentComplete")
        if is_final(str(job.get("status"))):
            done += 1
            percents.append(100.0)
        elif isinstance(percent, (int, float)):
            percents.append(min(max(float(percent), 0.0), 100.0))
    return Progress(done, total, int(sum(percents) / total) if percents else None)


def read_last_change(get: Operation[Any]) -> Procedure[float | None]:
    """Read when a run last changed, in seconds since the epoch; None when it is not specified. One call.

    :param get: reads an object with ``updatedAt``.
    """
    changed = timestamp_of((yield get.within(0)).get("updatedAt"))
    return changed.timestamp() if changed else None


def explain_failure(job_group_id: Id) -> Procedure[list[FailedJob]]:
    """Find out which jobs of a job group failed, and why. The list is empty if no job is reported as failed.

    :raises TrifactaApiError: the jobs could not be read.
    """
    failed = _failed((yield get_jobs_for_job_group(job_group_id).within(DIAGNOSIS_BUDGET)))
    if failed and not any(job.message for job in failed):
        # The messages may be mere references. That they can be embedded is inferred (api/README.md, section 5).
        try:
            embed = ["jobs", "jobs.errorMessage"]
            job_group = yield get_job_group(job_group_id, embed=embed).within(0)
        except TrifactaApiError:
            return failed
        embedded = job_group.get("jobs")
        data = embedded.get("data") if isinstance(embedded, dict) else None
        if isinstance(data, list):
            failed = _failed(data) or failed
    return failed


def _failed(jobs: list[JsonObject]) -> list[FailedJob]:
    return [
        FailedJob(
            str(job.get("id", "?")),
            line(str(job.get("jobType", "?")), _LONGEST_NAME),
            status,
            _message(job.get("errorMessage")),
        )
        for job in jobs
        if isinstance(job, dict)
        and ((status := str(job.get("status"))) == RunStatus.FAILED.value or is_canceled(status))
    ]


def _message(value: Any) -> str | None:
    """Read an ``errorMessage``, whose fields are undocumented: return the first string in a likely field."""
    if isinstance(value, str):
        return line(value) or None
    if not isinstance(value, Mapping):
        return None
    for key in ("message", "errorMessage", "text", "description", "details", "name"):
        text = _message(value.get(key))
        if text:
            return text
    return None


def count_outputs(outputs: Mapping[str, Any]) -> str:
    """Return how many files and tables a job group wrote: ``3 files and 1 table``.

    :raises Exception: the outputs are not lists.
    """
    counts = [
        f"{count} {what}" + ("s" if count > 1 else "")
        for what in ("file", "table")
        if (count := len(outputs.get(f"{what}s") or []))
    ]
    return " and ".join(counts) or "nothing"


def describe_outputs(outputs: Mapping[str, Any]) -> list[str]:
    """Return a line for each file and table of ``getJobGroupOutputs``."""
    files, tables = outputs.get("files") or [], outputs.get("tables") or []
    uris = [file.get("uri") for file in files if isinstance(file, dict)]
    lines = [line(f"file {uri_without_credentials(str(uri))}") for uri in uris]
    for table in tables:
        if isinstance(table, dict):
            name = ".".join(str(part) for part in [*(table.get("relationalPath") or []), table.get("table")])
            lines.append(line(f"table {name} ({table.get('vendor')}, {table.get('action')})"))
    return lines


def summary_of(outputs: Mapping[str, Any]) -> Summary:
    """Return what a job group wrote, in words.

    :raises Exception: the outputs are not lists.
    """
    lines = describe_outputs(outputs)
    if len(lines) <= _OUTPUTS_IN_SUMMARY:
        return Summary(f"It wrote {', '.join(lines) or 'nothing'}.")
    return Summary(f"It wrote {count_outputs(outputs)}.", "wrote", tuple(lines))
