"""Files on this machine and in the storages that Airflow knows, written completely or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import tempfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from airflow_provider_trifacta.airflow_support.compat import (
    ObjectStoragePath,
    get_hook_lineage_collector,
    universal_pathlib_is_too_new,
)
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError, TrifactaError
from airflow_provider_trifacta.exceptions import TrifactaResultsNotSaved

#: Protocols of s3fs, gcsfs and adlfs: their ``put_file`` makes an object visible only when the upload is complete.
#: There, a move would be another copy, and would need permission to read and delete.
_WHOLE_UPLOADS = frozenset({"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"})
_STORAGE_PROVIDER = (
    "Install the provider for this storage, for example apache-airflow-providers-amazon[s3fs], and check the "
    "connection in the path"
)
_OLDER_LIBRARY = (
    "This Airflow does not work with the installed universal-pathlib, whatever the storage: install Airflow with "
    "its constraints, or 'universal-pathlib<0.3'"
)
#: Files that a killed process may leave behind have hidden names.
_HIDDEN = ".trifacta-"


def target_of(name: str, value: Any) -> Path | ObjectStoragePath:
    """Return a local or remote path that can be written, as far as this can be checked without writing.

    :param name: the argument, named in the error.
    :raises TrifactaConfigurationError: not the path of a file, something else exists there, or this machine has
        no library that can write to its storage.
    """
    if not isinstance(value, (str, os.PathLike, ObjectStoragePath)) or not str(value).strip():
        raise TrifactaConfigurationError(f"{name}: expected a path, got {value!r}")
    if str(value).endswith("/"):
        raise TrifactaConfigurationError(f"{name}: {str(value)!r} is a folder; specify a file in it")
    if isinstance(value, ObjectStoragePath) or "://" in str(value):
        path = _storage_path(name, value)
        if path.protocol not in ("file", "local"):
            return path
        value = path.path
    return _local_path(name, value)


@contextlib.contextmanager
def naming(name: str, target: Path | ObjectStoragePath) -> Iterator[None]:
    """Name the argument when its file cannot be written.

    :raises TrifactaResultsNotSaved: replaces what the storage raises. Errors of this package pass unchanged.
    """
    try:
        yield
    except TrifactaError:
        raise
    # Storage libraries may raise anything.
    except Exception as error:
        raise TrifactaResultsNotSaved(
            f"{name}: {target} could not be written: {type(error).__name__}: {error}"
        ) from error


def save(fill: Callable[[Path], object], target: Path | ObjectStoragePath) -> None:
    """Let a function fill a file, and move it into place once it is complete. Missing folders are created.

    An existing file is replaced; if anything fails, it stays as it was.

    :param fill: writes to the local file that it receives.
    :raises OSError: it could not be written. A storage may raise something else.
    """
    with tempfile.TemporaryDirectory(prefix=_HIDDEN, ignore_cleanup_errors=True) as folder:
        file = Path(folder) / "file"
        fill(file)
        # On Airflow 2 a storage path is a Path, too.
        if isinstance(target, ObjectStoragePath):
            _put_in_storage(file, target)
        else:
            _put_here(file, target)


# ---------------------------------------------------------------------------------------------------- this machine


def _local_path(name: str, value: Any) -> Path:
    try:
        path = Path(value)
        obstacle = _obstacle(path)
    except (OSError, TypeError, ValueError) as error:
        raise TrifactaConfigurationError(f"{name}: {value!r} cannot be written: {error}") from None
    if obstacle:
        raise TrifactaConfigurationError(f"{name}: {str(path)!r} cannot be written: {obstacle}")
    return path


def _obstacle(path: Path) -> str | None:
    """Return what prevents writing a file, None if nothing does.

    :raises OSError: this cannot be determined.
    """
    there = next(place for place in (path, *path.absolute().parents) if _is_there(place))
    if there.is_symlink() and not there.exists():
        return f"{there} is a broken link"
    mode = there.stat().st_mode
    if there is not path:
        return None if stat.S_ISDIR(mode) else f"{there} is not a folder"
    if stat.S_ISDIR(mode):
        return "it is a folder; specify a file in it"
    return None if stat.S_ISREG(mode) else "it is not a regular file"


def _is_there(place: Path) -> bool:
    try:
        place.lstat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def _put_here(file: Path, target: Path) -> None:
    # A symbolic link stays: its target is replaced.
    place = target.resolve()
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(_hidden_name())
    try:
        # Created here rather than moved, so that it gets the permissions of any new file.
        with file.open("rb") as source, part.open("xb") as sink:
            shutil.copyfileobj(source, sink)
            sink.flush()
            os.fsync(sink.fileno())
        part.replace(place)
    except BaseException:
        with contextlib.suppress(OSError):
            part.unlink()
        raise


def _hidden_name() -> str:
    return f"{_HIDDEN}{uuid.uuid4().hex}"


# -------------------------------------------------------------------------------------------------------- storages


def _storage_path(name: str, value: Any) -> ObjectStoragePath:
    try:
        path = ObjectStoragePath(value)
        # Does not connect, but needs the library for the protocol.
        path.fs  # noqa: B018
    except Exception as error:
        advice = _OLDER_LIBRARY if universal_pathlib_is_too_new() else _STORAGE_PROVIDER
        raise TrifactaConfigurationError(
            f"{name}: {value!r} cannot be written from here ({error}). {advice}"
        ) from error
    return path


def _put_in_storage(file: Path, target: ObjectStoragePath) -> None:
    fs = target.fs
    path = fs._strip_protocol(target.path)
    if _WHOLE_UPLOADS.isdisjoint(_protocols(fs)):
        _put_beside_and_move(fs, file, path)
    else:
        fs.put_file(str(file), path)
    # Airflow records only what the path's own methods write. The file is saved even if this fails.
    with contextlib.suppress(Exception):
        collector = get_hook_lineage_collector()
        collector.add_output_asset(context=target, uri=str(target))


def _protocols(fs: Any) -> set[str]:
    return {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)


def _put_beside_and_move(fs: Any, file: Path, path: str) -> None:
    """Upload a file under another name, since a broken upload may leave part of it, and then rename it."""
    folder, slash, _ = path.rpartition("/")
    part = f"{folder}{slash}{_hidden_name()}"
    if folder:
        with contextlib.suppress(NotImplementedError):
            fs.makedirs(folder, exist_ok=True)
    if fs.isdir(path):
        raise IsADirectoryError(f"{path} is a folder")
    try:
        fs.put_file(str(file), part)
        _move(fs, part, path)
    except BaseException:
        with contextlib.suppress(Exception):
            fs.rm_file(part)
        raise


def _move(fs: Any, source: str, path: str) -> None:
    from fsspec import AbstractFileSystem  # type: ignore[import-untyped]

    if type(fs).mv is not AbstractFileSystem.mv:
        fs.mv(source, path)
        return
    # What fsspec does for a file system that cannot rename, but without treating *, ? and [ in paths as patterns.
    fs.cp_file(source, path)
    fs.rm_file(source)
