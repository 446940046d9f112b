"""The note that a try leaves for the next one: its attempt, and the run of that attempt.

Without a note, a later try finds this out from the server. With one it is faster, and certain even if several
tasks run the same thing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Protocol, get_args

from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database
from airflow_provider_trifacta.api.messages import Id
from airflow_provider_trifacta.api.runs.kind import KindName

log = logging.getLogger(__name__)

#: The key in Airflow's task state store, and the event in the audit log. Fixed: running tasks have used it.
KEY = "trifacta_job_group"


@dataclass(frozen=True)
class AttemptNote:
    """One attempt.

    :param series: the key of its series.
    :param number: its number in the series, from 1.
    :param execution_id: the ``x-execution-id`` it is submitted with.
    :param sent_at: the earliest time at which it was submitted, in seconds since the epoch.
    :param try_number: the try that wrote this.
    :param run_id: the run, None until the submit is answered.
    :param ended: runs of earlier attempts, including those before a clear.
    :param parts: the job groups named in the answer to the start of a flow.
    :param kind: the kind of the run. The next try of the task may run another kind.
    :param subject_id: the flow or the plan. The next try of the task may run another one.
    :param sent: whether it may have been sent; False as long as it waits for a slot.
    """

    series: str
    number: int
    execution_id: str
    sent_at: float
    try_number: int
    run_id: Id | None = None
    ended: tuple[Id, ...] = ()
    parts: tuple[int, ...] = ()
    kind: KindName = "job_group"
    subject_id: Id | None = None
    sent: bool = True

    @property
    def runs(self) -> tuple[Id, ...]:
        """All runs of the task so far."""
        return self.ended if self.run_id is None else (*self.ended, self.run_id)


class AttemptNotes(Protocol):
    """Keeps the latest note of a task instance."""

    def read(self) -> AttemptNote | None:
        """Return the latest note of this try or an earlier one, None if there is none."""
        ...

    def write(self, note: AttemptNote) -> None:
        """Store a note, replacing the previous one."""
        ...


class NoNotes:
    """Keeps nothing."""

    def read(self) -> AttemptNote | None:
        """Return None."""
        return None

    def write(self, note: AttemptNote) -> None:
        """Do nothing."""


class TaskStateNotes:
    """Keeps notes in Airflow's task state store (3.3 and later).

    :param store: ``context["task_state_store"]``.
    """

    def __init__(self, store: Any) -> None:
        self._store = store

    def read(self) -> AttemptNote | None:
        """Read the store."""
        return _note_from(self._store.get(KEY))

    def write(self, note: AttemptNote) -> None:
        """Write to the store; returns once the note is stored."""
        self._store.set(KEY, _plain(note))


class AuditLogNotes:
    """Keeps notes in the audit log of Airflow 2, where tasks may use the database.

    :param ti: the task instance.
    """

    def __init__(self, ti: Any) -> None:
        self._ti = ti

    def read(self) -> AttemptNote | None:
        """Read the latest entry."""
        from airflow.models.log import Log
        from airflow.utils.session import create_session

        ti = self._ti
        with create_session() as session:
            extra = (
                session.query(Log.extra)
                .filter(
                    Log.event == KEY,
                    Log.dag_id == ti.dag_id,
                    Log.task_id == ti.task_id,
                    Log.run_id == ti.run_id,
                    Log.map_index == ti.map_index,
                )
                .order_by(Log.id.desc())
                .limit(1)
                .scalar()
            )
        return _note_from(json.loads(extra)) if extra else None

    def write(self, note: AttemptNote) -> None:
        """Add an entry."""
        from airflow.models.log import Log
        from airflow.utils.session import create_session

        with create_session() as session:
            session.add(Log(event=KEY, task_instance=self._ti, extra=json.dumps(_plain(note))))


def notes_of(context: Mapping[str, Any]) -> AttemptNotes:
    """Return where this Airflow keeps the notes of a task; 3.0 to 3.2 have no such place."""
    store = context.get("task_state_store")
    if store is not None:
        return TaskStateNotes(store)
    if tasks_use_the_database():
        from airflow.models.taskinstance import TaskInstance

        ti = context.get("ti")
        if isinstance(ti, TaskInstance):
            return AuditLogNotes(ti)
    return NoNotes()


#: How a note is stored. Fixed: running tasks have stored notes. Runs of every kind are stored as ``job_group_id``.
_STORED = {name: name for name in AttemptNote.__dataclass_fields__} | {"run_id": "job_group_id"}
#: Fields that notes of job groups do not have.
_ADDED = ("parts", "kind", "subject_id", "sent")


def _plain(note: AttemptNote) -> dict[str, Any]:
    values = {_STORED[name]: value for name, value in asdict(note).items() if name not in _ADDED}
    values["ended"] = list(note.ended)
    if not note.sent:
        values["sent"] = False
    if note.kind == "job_group":
        return values
    return {**values, "parts": list(note.parts), "kind": note.kind, "subject_id": note.subject_id}


def _note_from(value: Any) -> AttemptNote | None:
    """Read a note; None if it is missing or was written by an incompatible version."""
    try:
        known = {name: value[key] for name, key in _STORED.items() if name not in _ADDED}
        known |= {name: value[name] for name in _ADDED if name in value}
        note = AttemptNote(**{**known, "ended": tuple(known["ended"]), "parts": tuple(known.get("parts", ()))})
    except (KeyError, TypeError, AttributeError):
        if value is not None:
            log.warning("The note of an earlier try cannot be read and is ignored: %r", value)
        return None
    well_formed = (
        isinstance(note.series, str)
        and isinstance(note.execution_id, str)
        and isinstance(note.number, int)
        and isinstance(note.sent_at, (int, float))
        and isinstance(note.try_number, int)
        and (note.run_id is None or isinstance(note.run_id, (int, str)))
        and all(isinstance(part, int) for part in note.parts)
        and note.kind in get_args(KindName)
        and (note.subject_id is None or isinstance(note.subject_id, (int, str)))
        and isinstance(note.sent, bool)
    )
    return note if well_formed else None
