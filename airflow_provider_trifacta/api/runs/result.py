"""What a run wrote: read once, and shared by its summary, saved outputs, lineage and asset events."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from airflow_provider_trifacta.api.answers import JobGroupInput, JobGroupOutputs, OutputFile, Table
from airflow_provider_trifacta.api.error_answers import is_permanent_refusal
from airflow_provider_trifacta.api.errors import TrifactaAnswerNotUnderstood, TrifactaApiError
from airflow_provider_trifacta.api.messages import Id, Operation
from airflow_provider_trifacta.api.operations import get_job_group_inputs, get_job_group_outputs
from airflow_provider_trifacta.api.procedures import Procedure

T = TypeVar("T")


@dataclass(frozen=True)
class RunResult:
    """What a successful run wrote, as far as it has been read.

    :param job_groups: the job groups it consists of; empty if the API does not report them, as for plan runs.
    :param unread: those of them whose outputs have not been read.
    :param files: the files that the others wrote.
    :param tables: the tables that the others wrote.
    """

    job_groups: tuple[Id, ...] = ()
    unread: tuple[Id, ...] = ()
    files: tuple[OutputFile, ...] = ()
    tables: tuple[Table, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether everything that the run wrote is known."""
        return bool(self.job_groups) and not self.unread

    @property
    def outputs(self) -> JobGroupOutputs:
        """The files and tables in the form in which the API gives them for a job group."""
        return {"files": list(self.files), "tables": list(self.tables)}

    def with_outputs(self, job_group_id: Id, outputs: JobGroupOutputs) -> RunResult:
        """Return the result together with the outputs of one more job group."""
        return RunResult(
            self.job_groups,
            tuple(one for one in self.unread if one != job_group_id),
            (*self.files, *outputs["files"]),
            (*self.tables, *outputs["tables"]),
        )


def read_all_outputs(result: RunResult, *, budget: float | None = None) -> Procedure[RunResult]:
    """Read the outputs of every job group that are not known yet (``getJobGroupOutputs``).

    :param budget: maximum seconds to repeat a call for; None uses the client's retry budget.
    :raises TrifactaApiError: those of one of them could not be read.
    """
    for job_group_id in result.unread:
        result = result.with_outputs(job_group_id, (yield get_job_group_outputs(job_group_id).within(budget)))
    return result


def read_some_outputs(
    result: RunResult, *, most: int, is_late: Callable[[], bool]
) -> Procedure[tuple[RunResult, str | None]]:
    """Read outputs that are not known yet, for what only informs users: each at most once, as long as it works.

    A job group whose outputs the server refuses to give is left out; any other error ends the reading.

    :param most: maximum number of job groups whose outputs are read.
    :param is_late: whether no more calls should be made.
    :return: the result, and why some are still not known, None if all are.
    """
    found, why = yield from _read_some(result.unread, get_job_group_outputs, most=most, is_late=is_late)
    for job_group_id, outputs in found.items():
        result = result.with_outputs(job_group_id, outputs)
    return result, why


@dataclass(frozen=True)
class RunInputs:
    """What a run read, as far as the API reports it.

    :param unread: the job groups whose inputs are not known. The server answers some with 400 (api/README.md,
        section 7).
    """

    datasets: tuple[JobGroupInput, ...] = ()
    unread: tuple[Id, ...] = ()


def read_some_inputs(
    job_groups: tuple[Id, ...], *, most: int, is_late: Callable[[], bool]
) -> Procedure[tuple[RunInputs, str | None]]:
    """Read what job groups have read (``getJobGroupInputs``), as :func:`read_some_outputs` does."""
    found, why = yield from _read_some(job_groups, get_job_group_inputs, most=most, is_late=is_late)
    inputs = RunInputs(
        tuple(dataset for datasets in found.values() for dataset in datasets),
        tuple(one for one in job_groups if one not in found),
    )
    return inputs, why


def _read_some(
    job_groups: tuple[Id, ...], operation: Callable[[Id], Operation[T]], *, most: int, is_late: Callable[[], bool]
) -> Procedure[tuple[dict[Id, T], str | None]]:
    found: dict[Id, T] = {}
    why = None if len(job_groups) <= most else f"only those of {most} job groups are read"
    for job_group_id in job_groups[:most]:
        if is_late():
            return found, "the time for it is over"
        try:
            found[job_group_id] = yield operation(job_group_id).within(0)
        except TrifactaApiError as error:
            why = str(error)
            if not (is_permanent_refusal(error) or isinstance(error, TrifactaAnswerNotUnderstood)):
                break
    return found, why
