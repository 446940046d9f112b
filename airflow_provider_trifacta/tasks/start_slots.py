"""Whether a deferrable task may submit now, or first waits for a slot in the triggerer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.errors import TrifactaRateLimited
from airflow_provider_trifacta.api.rate_limits import Quota, route_of
from airflow_provider_trifacta.api.start_pace import SeenQuota
from airflow_provider_trifacta.tasks.quota_file import QuotaFile

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.logs import Log
    from airflow_provider_trifacta.api.runs.kind import Launch
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook


@dataclass
class StartPostponed(Exception):
    """Nothing was submitted: the task waits for a slot first.

    :param reason: why, for users.
    :param seen: what is known of the quota, None if nothing.
    :param refused: whether the server refused the start.
    """

    reason: str
    seen: SeenQuota | None
    refused: bool


class StartSlots:
    """Decides for one start.

    :param has_slot: whether the task has waited for a slot.
    :param behind: how many others waited when it got the slot; None when that is not known.
    """

    def __init__(
        self, hook: TrifactaHook, launch: Launch, log: Log, *, has_slot: bool, behind: int | None = None
    ) -> None:
        self.hook = hook
        self._has_slot = has_slot
        self._behind = behind
        self._log = log
        self.operation = launch.kind.start_operation
        request = launch.start("").request
        self._route = route_of(request.method, request.path)
        self._file = QuotaFile(hook.trifacta_conn_id, hook.client.settings.base_url, self.operation)

    @property
    def starts_per_minute(self) -> float | None:
        """The rate that the connection specifies."""
        return self.hook.max_starts_per_minute(self.operation)

    def check(self) -> None:
        """Return if the start may be submitted.

        :raises StartPostponed: it has to wait for a slot.
        """
        now = self.hook.clock.time()
        # In this process, tasks have rarely submitted anything before; on this machine they often have.
        known, seen = self._read() or SeenQuota(), SeenQuota.used_up(self._quotas, now)
        if seen is not None:
            known = seen.after(known)
        if self._behind is not None:
            known = self._keep(known.left(self._behind, now))
        if known.is_used_up(now):
            raise self._postponed("the quota was used up by earlier starts", known)
        if self._has_slot:
            return
        if self.starts_per_minute is not None:
            raise StartPostponed("max_starts_per_minute is set in the connection", None, refused=False)
        if known.is_waited_for(now):
            if not known.has_overdue_start(now):
                raise self._postponed("others already wait for the quota", known)
            self._keep(known.started(now))

    def refused(self, error: TrifactaRateLimited) -> StartPostponed:
        """Return what to raise after a refusal, which other tasks on this machine learn of."""
        seen = SeenQuota.refused(error.retry_after, self._quotas, self.hook.clock.time())
        return self._postponed("the server refused it (429)", seen.after(self._read()), refused=True)

    def submitted(self) -> None:
        """Note what the answer to a submit reported of the quota."""
        now = self.hook.clock.time()
        known, seen = self._read(), SeenQuota.reported(self._quotas, now)
        if seen is None:
            return
        # What is left is of interest only after it has been used up once; and not if a later answer, by which it
        # is used up, has overtaken this one.
        if seen.until is not None or (known is not None and not known.is_used_up(now)):
            self._keep(seen.after(known))

    @property
    def _quotas(self) -> tuple[Quota, ...]:
        return self.hook.client.quotas.get(self._route, ())

    def _read(self) -> SeenQuota | None:
        seen = None
        with decoration("What earlier starts learned of the quota could not be read", self._log):
            seen = self._file.read()
        return seen

    def _postponed(self, reason: str, seen: SeenQuota, *, refused: bool = False) -> StartPostponed:
        """Return what to raise once the task has joined the line."""
        return StartPostponed(reason, self._keep(seen.joined(self.hook.clock.time())), refused)

    def _keep(self, seen: SeenQuota) -> SeenQuota:
        """Store what is known for other tasks, and return it.

        Of two that do so at once, one is lost. The next that leaves the line brings its true length.
        """
        with decoration("What this start learned of the quota could not be stored for others", self._log):
            self._file.write(seen)
        return seen
