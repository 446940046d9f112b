"""Starts DAGs when runs end that somebody else started (Airflow 3.0 and later)."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import aclosing
from typing import Any, get_args

from airflow.triggers.base import TriggerEvent

from airflow_provider_trifacta.api.answers import RanFrom
from airflow_provider_trifacta.api.arguments import check_id, check_seconds
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.ids import id_of
from airflow_provider_trifacta.api.messages import Id
from airflow_provider_trifacta.api.runs.kind import KindName
from airflow_provider_trifacta.api.statuses import RunStatus
from airflow_provider_trifacta.api.text import is_line
from airflow_provider_trifacta.connection import DEFAULT_CONN_ID
from airflow_provider_trifacta.triggers.stored import StoredTrigger

try:
    from airflow.triggers.base import BaseEventTrigger
except ImportError as error:
    raise ImportError(
        "airflow_provider_trifacta.triggers.events needs Airflow 3.0 or later: before it, no trigger starts a DAG"
    ) from error

#: Seconds between two readings of the list.
DEFAULT_POLL_INTERVAL = 60.0
#: The statuses that an event can be about.
STATUSES = (RunStatus.COMPLETE.value, RunStatus.FAILED.value, RunStatus.CANCELED.value)
_SOURCES = get_args(RanFrom)
#: For each argument: the kind of the runs, and the word for what they run.
_SUBJECTS: dict[str, tuple[KindName, str]] = {
    "recipe_id": ("job_group", "recipe"),
    "flow_id": ("flow_run", "flow"),
    "plan_id": ("plan_snapshot_run", "plan"),
}
_LONGEST_USER = 100


class TrifactaRunFinishedTrigger(StoredTrigger, BaseEventTrigger):
    """Sends an event for each run of a recipe, flow or plan that ends, whoever started it: for ``AssetWatcher``.

    It reads the lists of the application (``listJobLibrary``, ``listPlanSnapshotRuns``), together with all others
    of its connection, and each run before it reports it. It never ends by itself.

    The payload of an event has the keys ``kind`` (``job_group``, ``flow_run``, ``plan_snapshot_run``), ``id``,
    ``status``, ``recipe``, ``flow``, ``plan``, ``started``, ``ended`` (ISO 8601), ``link``, and ``outputs``, the
    number of files and tables that a job group wrote. What the API does not report is None.

    :param trifacta_conn_id: the Airflow connection.
    :param recipe_id: a recipe (``wrangled_dataset_id``): an event for each of its job groups.
    :param flow_id: a flow: an event for each of its flow runs, when the last of its job groups has ended; none for
        a job group of one of its recipes that is not part of a flow run.
    :param plan_id: a plan: an event for each of its plan runs. Exactly one of the three is needed.
    :param statuses: how the runs ended: ``Complete``, ``Failed``, ``Canceled``.
    :param run_by: only runs that this user started: the id of a user, as in ``hook.get_current_person()["id"]``.
    :param ran_from: only runs that were started from there: ``ui``, ``schedule`` or ``api``.
    :param poll_interval: seconds between two readings of the list.
    :raises TrifactaConfigurationError: names the argument that cannot be used.
    """

    def __init__(
        self,
        trifacta_conn_id: str = DEFAULT_CONN_ID,
        recipe_id: Id | None = None,
        flow_id: Id | None = None,
        plan_id: Id | None = None,
        statuses: Collection[str] = (RunStatus.COMPLETE.value,),
        run_by: Id | None = None,
        ran_from: str | None = None,
        poll_interval: float = DEFAULT_POLL_INTERVAL,
    ) -> None:
        super().__init__()
        if not isinstance(trifacta_conn_id, str) or not trifacta_conn_id:
            raise TrifactaConfigurationError(
                f"trifacta_conn_id: {trifacta_conn_id!r} is not the id of a connection"
            )
        given = {"recipe_id": recipe_id, "flow_id": flow_id, "plan_id": plan_id}
        self._argument = _only_one(given)
        self.kind, self._noun = _SUBJECTS[self._argument]
        self._subject_id = _plain(check_id(self._argument, given[self._argument]))
        self.trifacta_conn_id = trifacta_conn_id
        self.statuses = _checked_statuses(statuses)
        self.run_by = _checked_user(run_by)
        self.ran_from = _checked_source(ran_from)
        self.poll_interval = check_seconds("poll_interval", poll_interval)

    def _arguments(self) -> dict[str, Any]:
        return {**self._what(), "poll_interval": self.poll_interval}

    def _what(self) -> dict[str, Any]:
        """Return the arguments that decide which runs are reported, in one form for each meaning."""
        return {
            "trifacta_conn_id": self.trifacta_conn_id,
            self._argument: self._subject_id,
            "statuses": list(self.statuses),
            "run_by": self.run_by,
            "ran_from": self.ran_from,
        }

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Send an event for each run, forever. Every error is logged and outlived."""
        # The file of a DAG only needs the constructor.
        from airflow_provider_trifacta.airflow_support.asset_state import AssetState
        from airflow_provider_trifacta.api.runs.cursor import Wanted
        from airflow_provider_trifacta.triggers.run_watcher import RunWatcher

        wanted = Wanted(
            self.kind,
            str(self._subject_id),
            frozenset(self.statuses),
            None if self.run_by is None else str(self.run_by),
            self.ran_from,
        )
        watcher = RunWatcher(
            self.trifacta_conn_id,
            wanted,
            noun=self._noun,
            poll_interval=self.poll_interval,
            state=AssetState(self),
            what=self._what(),
        )
        async with aclosing(watcher.payloads()) as payloads:
            async for payload in payloads:
                yield TriggerEvent(payload)  # type: ignore[no-untyped-call,unused-ignore]


def _only_one(given: dict[str, Id | None]) -> str:
    names = [name for name, value in given.items() if value is not None]
    if len(names) != 1:
        problem = f"only one of them can be given, not {' and '.join(names)}" if names else "one of them is needed"
        raise TrifactaConfigurationError(f"recipe_id, flow_id, plan_id: {problem}")
    return names[0]


def _checked_statuses(statuses: Any) -> tuple[str, ...]:
    if isinstance(statuses, str) or not isinstance(statuses, Collection):
        raise TrifactaConfigurationError(f"statuses: {statuses!r} is not a list of status values")
    unknown = [status for status in statuses if status not in STATUSES]
    if unknown or not statuses:
        problem = f"{unknown[0]!r} is not a final status" if unknown else "is empty"
        raise TrifactaConfigurationError(f"statuses: {problem}; use some of {', '.join(STATUSES)}")
    return tuple(status for status in STATUSES if status in statuses)


def _checked_user(value: Any) -> Id | None:
    if value is None:
        return None
    is_id = isinstance(value, int) and not isinstance(value, bool) and id_of(value) is not None
    if not is_id and not (isinstance(value, str) and value.strip() and is_line(value, _LONGEST_USER)):
        raise TrifactaConfigurationError(f"run_by: {value!r} is not the id of a user")
    if isinstance(value, str) and "@" in value:
        raise TrifactaConfigurationError(
            f"run_by: {value!r} is an e-mail address, but runs name users by their id. It is "
            'TrifactaHook().get_current_person()["id"] with the token of that user'
        )
    return _plain(value.strip() if isinstance(value, str) else value)


def _checked_source(value: Any) -> str | None:
    if value is not None and value not in _SOURCES:
        raise TrifactaConfigurationError(f"ran_from: {value!r} is none of {', '.join(_SOURCES)}")
    source: str | None = value
    return source


def _plain(value: Id) -> Id:
    """Return an id in one form: Airflow tells triggers apart by their arguments."""
    number = id_of(value)
    return value if number is None else number
