"""The status words of job groups, jobs, flow runs and plan runs (one vocabulary), and what they mean."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

from airflow_provider_trifacta.api.text import is_line, line

#: Characters of a status word.
LONGEST_STATUS = 100


class RunStatus(str, Enum):
    """The documented words. ``Pending`` occurs only in clients of older releases."""

    CREATED = "Created"
    PENDING = "Pending"
    IN_PROGRESS = "InProgress"
    COMPLETE = "Complete"
    FAILED = "Failed"
    CANCELED = "Canceled"


_RUNNING = frozenset({RunStatus.CREATED, RunStatus.PENDING, RunStatus.IN_PROGRESS})
# "Cancelled" is in no document, but third-party code handles it. Reading it as an end is safe:
# it can only turn a wait into a failure, never into a success.
_CANCELED = frozenset({RunStatus.CANCELED.value, "Cancelled"})
_ENDED = frozenset({RunStatus.COMPLETE.value, RunStatus.FAILED.value}) | _CANCELED


def status_word(value: Any) -> str:
    """Return a status value as it came; what could not be shown is its JSON text, a word that nobody knows."""
    if isinstance(value, str) and is_line(value, LONGEST_STATUS):
        return value
    return line(json.dumps(value), LONGEST_STATUS)


def is_success(status: str) -> bool:
    """Return whether the run succeeded. Only the exact word ``Complete`` says so."""
    return status == RunStatus.COMPLETE.value


def is_canceled(status: str) -> bool:
    """Return whether somebody stopped the run."""
    return status in _CANCELED


def is_final(status: str) -> bool:
    """Return whether the status can no longer change."""
    return status in _ENDED


def is_bad_end(status: str) -> bool:
    """Return whether the run ended and did not succeed."""
    return is_final(status) and not is_success(status)


def is_known(status: str) -> bool:
    """Return whether the word is one we understand. An unknown word is neither success nor failure."""
    return status in _RUNNING or status in _ENDED
