"""Bringing what a job group left behind to files, wherever they are kept."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import ObjectStoragePath

from airflow_provider_trifacta.api.error_answers import says_not_profiled
from airflow_provider_trifacta.api.errors import TrifactaApiError, TrifactaConfigurationError
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.messages import Operation
from airflow_provider_trifacta.api.operations import (
    get_job_group_pdf_results,
    get_profiling_information_for_job_group_consistent,
)
from airflow_provider_trifacta.exceptions import TrifactaProfileMissing, TrifactaResultsNotSaved

if TYPE_CHECKING:
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

_CHUNK = 1024 * 1024


@dataclass(frozen=True)
class ResultPaths:
    """Where the results of a job group go; None leaves one where it is.

    :param profile_pdf_path: the profile as PDF (``getJobGroupPdfResults``).
    :param profile_json_path: the profile as JSON (``getProfilingInformationForJobGroupConsistent``).
    :param outputs_json_path: the list of the files and tables that were written (``getJobGroupOutputs``).
    """

    profile_pdf_path: Path | ObjectStoragePath | None = None
    profile_json_path: Path | ObjectStoragePath | None = None
    outputs_json_path: Path | ObjectStoragePath | None = None

    @classmethod
    def check(cls, **given: Any) -> ResultPaths:
        """Return the paths that a person gave, after finding out that their storage is known here.

        :raises TrifactaConfigurationError: names the argument that cannot be used.
        """
        return cls(**{name: target_of(name, value) for name, value in given.items() if value not in (None, "")})

    def __bool__(self) -> bool:
        return any(getattr(self, field.name) is not None for field in fields(self))


def target_of(name: str, value: Any) -> Path | ObjectStoragePath:
    """Return a path, local or remote, that can be written.

    :param name: the argument, named in the error.
    :raises TrifactaConfigurationError: not a path, or nothing on this machine can write to its storage.
    """
    if not isinstance(value, (str, os.PathLike, ObjectStoragePath)) or not str(value).strip():
        raise TrifactaConfigurationError(f"{name}: expected a path, got {value!r}")
    if not isinstance(value, ObjectStoragePath) and "://" not in str(value):
        return Path(value)
    try:
        path = ObjectStoragePath(value)
        # Connects to nothing, but needs what speaks the protocol.
        path.fs  # noqa: B018
    except Exception as error:
        raise TrifactaConfigurationError(
            f"{name}: {value!r} cannot be written from here ({error}). Install the provider of its storage, for "
            "example apache-airflow-providers-amazon[s3fs], and check the connection in the path"
        ) from error
    return path


def save_results(
    hook: TrifactaHook, job_group_id: int | str, paths: ResultPaths, *, profile_required: bool, log: Log
) -> None:
    """Bring the results of a job group that is ``Complete``.

    :param profile_required: whether a job group that ran without profiling is a failure.
    :raises TrifactaProfileMissing: it ran without profiling, and the profile is required.
    :raises TrifactaResultsNotSaved: a result could not be read or written; the job group stays as it is.
    """
    profiles: list[tuple[str, Operation[Any], Path | ObjectStoragePath | None]] = [
        ("profile as PDF", get_job_group_pdf_results(job_group_id), paths.profile_pdf_path),
        (
            "profile as JSON",
            get_profiling_information_for_job_group_consistent(job_group_id),
            paths.profile_json_path,
        ),
    ]
    for what, operation, target in profiles:
        if target is None:
            continue
        try:
            with _explained(job_group_id, what, target):
                save(functools.partial(hook.client.download, operation), target)
        except TrifactaResultsNotSaved as error:
            if not says_not_profiled(error.__cause__):
                raise
            missing = (
                f"Job group {job_group_id} ran without profiling, so there is no {what} for {target}. "
                'Set overrides={"profiler": True} in the task, or switch profiling on in the output of the recipe'
            )
            if profile_required:
                raise TrifactaProfileMissing(missing) from None
            log.warning("%s", missing)
        else:
            log.info("The %s of job group %s is in %s", what, job_group_id, target)
    if paths.outputs_json_path is not None:
        with _explained(job_group_id, "list of outputs", paths.outputs_json_path):
            outputs = hook.get_job_group_outputs(job_group_id)
            save(lambda file: file.write_text(json.dumps(outputs, indent=2)), paths.outputs_json_path)
        log.info("The list of outputs of job group %s is in %s", job_group_id, paths.outputs_json_path)


def save(fetch: Callable[[Path], object], target: Path | ObjectStoragePath) -> None:
    """Let something fill a file, and put it where it belongs once it is whole. Missing folders are made.

    :param fetch: writes to the local file it is given.
    :raises OSError: it could not be written.
    """
    # On Airflow 2 the path of a storage is a Path, too.
    if not isinstance(target, ObjectStoragePath):
        target.parent.mkdir(parents=True, exist_ok=True)
        with _scratch(target.parent) as file:
            fetch(file)
            os.replace(file, target)
        return
    with _scratch(Path(tempfile.gettempdir())) as file:
        fetch(file)
        with contextlib.suppress(NotImplementedError):
            target.parent.mkdir(parents=True, exist_ok=True)
        with file.open("rb") as source, target.open("wb") as sink:  # type: ignore[no-untyped-call]
            shutil.copyfileobj(source, sink, _CHUNK)


@contextlib.contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    file = folder / f".trifacta-{uuid.uuid4().hex}"
    try:
        yield file
    finally:
        file.unlink(missing_ok=True)


@contextlib.contextmanager
def _explained(job_group_id: int | str, what: str, target: object) -> Iterator[None]:
    try:
        yield
    # Storage libraries raise whatever they like.
    except Exception as error:
        kind = "" if isinstance(error, TrifactaApiError) else f"{type(error).__name__}: "
        raise TrifactaResultsNotSaved(
            f"Job group {job_group_id} is Complete, but its {what} could not be brought to {target}: "
            f"{kind}{error}. A retry of the task tries it again and starts no new job group"
        ) from error
