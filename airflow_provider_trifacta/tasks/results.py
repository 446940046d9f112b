"""Saves the results of a run to files, local or in a storage."""

from __future__ import annotations

import contextlib
import functools
import json
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.airflow_support.compat import ObjectStoragePath
from airflow_provider_trifacta.airflow_support.files import save, target_of
from airflow_provider_trifacta.api.contents import JSON_OBJECT, PDF, Content
from airflow_provider_trifacta.api.error_answers import says_not_profiled
from airflow_provider_trifacta.api.errors import TrifactaApiError
from airflow_provider_trifacta.api.messages import Operation
from airflow_provider_trifacta.api.operations import (
    get_job_group_pdf_results,
    get_profiling_information_for_job_group_consistent,
)
from airflow_provider_trifacta.exceptions import TrifactaProfileMissing, TrifactaResultsNotSaved

if TYPE_CHECKING:
    from airflow_provider_trifacta.tasks.outcome import OwnRun


@dataclass(frozen=True)
class ResultPaths:
    """Where the results of a job group are saved; None does not save one.

    :param profile_pdf_path: the profile as PDF (``getJobGroupPdfResults``).
    :param profile_json_path: the profile as JSON (``getProfilingInformationForJobGroupConsistent``).
    :param outputs_json_path: the list of the files and tables that were written (``getJobGroupOutputs``).
    """

    profile_pdf_path: Path | ObjectStoragePath | None = None
    profile_json_path: Path | ObjectStoragePath | None = None
    outputs_json_path: Path | ObjectStoragePath | None = None

    @classmethod
    def check(cls, **given: Any) -> ResultPaths:
        """Return the paths that a user gave, after checking that their storage can be used here.

        :raises TrifactaConfigurationError: names the argument that cannot be used.
        """
        return cls(**{name: target_of(name, value) for name, value in given.items() if value not in (None, "")})

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) is not None for field in fields(self))


def save_results(run: OwnRun, paths: ResultPaths, *, profile_required: bool) -> None:
    """Save the results of a job group that is ``Complete``.

    :param profile_required: whether a job group that ran without profiling is a failure.
    :raises TrifactaProfileMissing: it ran without profiling, and the profile is required.
    :raises TrifactaResultsNotSaved: a result could not be read or written; the job group stays as it is.
    """
    profiles: list[tuple[str, Operation[Any], Content, Path | ObjectStoragePath | None]] = [
        ("PDF profile", get_job_group_pdf_results(run.ref.id), PDF, paths.profile_pdf_path),
        (
            "JSON profile",
            get_profiling_information_for_job_group_consistent(run.ref.id),
            JSON_OBJECT,
            paths.profile_json_path,
        ),
    ]
    for what, operation, content, target in profiles:
        if target is None:
            continue
        try:
            with _explained(run, what, target):
                save(functools.partial(run.hook.client.download, operation, content=content), target)
        except TrifactaResultsNotSaved as error:
            if not says_not_profiled(error.__cause__):
                raise
            missing = (
                f"{run.title} ran without profiling, so there is no {what} for {target}. "
                'Set overrides={"profiler": True} in the task, or turn on profiling in the output of the recipe'
            )
            if profile_required:
                raise TrifactaProfileMissing(missing) from None
            run.log.warning("%s", missing)
        else:
            run.log.info("Saved the %s of %s to %s", what, run, target)
    if paths.outputs_json_path is not None:
        save_outputs(run, paths.outputs_json_path)


def save_outputs(run: OwnRun, target: Path | ObjectStoragePath) -> None:
    """Save the list of the files and tables that a run has written, as JSON.

    :raises TrifactaResultsNotSaved: it could not be read or written; the run stays as it is.
    """
    with _explained(run, "list of outputs", target):
        text = json.dumps(run.whole_result().outputs, indent=2)
        save(lambda file: file.write_text(text, encoding="utf-8"), target)
    run.log.info("Saved the list of outputs of %s to %s", run, target)


@contextlib.contextmanager
def _explained(run: OwnRun, what: str, target: object) -> Iterator[None]:
    try:
        yield
    # Storage libraries may raise anything.
    except Exception as error:
        kind = "" if isinstance(error, TrifactaApiError) else f"{type(error).__name__}: "
        raise TrifactaResultsNotSaved(
            f"{run.title} is Complete, but its {what} could not be saved to {target}: "
            f"{kind}{error}. A retry of the task tries again to save it and starts no new {run.kind.noun}"
        ) from error
