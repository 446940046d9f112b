"""The status values of job groups, jobs, flow runs and plan runs (one vocabulary), and their meaning."""

from __future__ import annotations

import json
from collections.abc import Iterable
from enum import Enum
from typing import Any

from airflow_provider_trifacta.api.text import is_line, line

#: Maximum length of a status value, in characters.
LONGEST_STATUS = 100


class RunStatus(str, Enum):
    """The documented values. ``Pending`` occurs only in clients of older releases."""

    CREATED = "Created"
    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    COMPLETE = "Complete"
    FAILED = "Failed"
    CANCELED = "Canceled"


# In the order in which a run goes through them.
_RUNNING = (RunStatus.CREATED.value, RunStatus.PENDING.value, RunStatus.IN_PROGRESS.value)
# "Cancelled" is undocumented, but third-party code handles it. Treating it as final is safe:
# it can only turn a wait into a failure, never into a success.
_CANCELED = frozenset({RunStatus.CANCELED.value, "Cancelled"})
_ENDED = frozenset({RunStatus.COMPLETE.value, RunStatus.FAILED.value}) | _CANCELED


def status_word(value: Any) -> str:
    """Return a status value unchanged, or its JSON text (an unknown value) if it is not a short string."""
    if isinstance(value, str) and is_line(value, LONGEST_STATUS):
        return value
    return line(json.dumps(value), LONGEST_STATUS)


def is_success(status: str) -> bool:
    """Return whether the run succeeded: only the exact value ``Complete`` counts."""
    return status == RunStatus.COMPLETE.value


def is_canceled(status: str) -> bool:
    """Return whether the run was canceled."""
    return status in _CANCELED


def as_documented(status: str) -> str:
    """Return a status value in the spelling that is documented."""
    return RunStatus.CANCELED.value if is_canceled(status) else status


def is_final(status: str) -> bool:
    """Return whether the status can no longer change."""
    return status in _ENDED


def is_bad_end(status: str) -> bool:
    """Return whether the run ended without success."""
    return is_final(status) and not is_success(status)


def is_running(status: str) -> bool:
    """Return whether the value is one of a run that has not ended."""
    return status in _RUNNING


def furthest(statuses: Iterable[str]) -> str | None:
    """Return the status of those of runs that have not ended that comes last in a run; None if there is none."""
    return max(filter(is_running, statuses), key=_RUNNING.index, default=None)


def is_known(status: str) -> bool:
    """Return whether the value is a known one. An unknown value is neither success nor failure."""
    return is_running(status) or is_final(status)
