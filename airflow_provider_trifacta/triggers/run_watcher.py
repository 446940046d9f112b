"""Follows the runs of one recipe, flow or plan, and reports each that ends."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import AsyncGenerator, Mapping
from typing import Any

from airflow_provider_trifacta.airflow_support.asset_state import AssetState
from airflow_provider_trifacta.api.pace import backoff
from airflow_provider_trifacta.api.runs.cursor import LONGEST_CATCH_UP, Cursor, Wanted
from airflow_provider_trifacta.api.runs.finished import FinishedRun
from airflow_provider_trifacta.api.runs.kinds import KINDS
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.api.timestamps import moment_after, spoken
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
from airflow_provider_trifacta.triggers.finished_runs import Follower, following
from airflow_provider_trifacta.triggers.watch import watching

log = logging.getLogger(__name__)

#: An event is only in the memory of the triggerer until it is passed on, about once a second. What was reported is
#: stored after it certainly has been: after so many sleeps of a second, in each of which the triggerer can do so.
_SLEEPS_BEFORE_STORING = 5
#: Seconds after which progress is stored even if nothing was reported.
_STORE_AFTER = 600.0
#: Seconds after which a watcher that cannot begin tries again: at first, and at most.
_FIRST_RETRY = 15.0
_LAST_RETRY = 600.0
#: Seconds for which a failing call is repeated before that.
_RETRY_BUDGET = 30.0


class RunWatcher:
    """Follows a list, and reports each run that is wanted once.

    :param conn_id: the Airflow connection.
    :param wanted: which runs are reported.
    :param noun: what they run, for users: ``recipe``.
    :param poll_interval: seconds between two readings of the list.
    :param state: keeps the cursor.
    :param what: decides whose cursor it is: the same as long as the same runs are wanted.
    """

    def __init__(
        self,
        conn_id: str,
        wanted: Wanted,
        *,
        noun: str,
        poll_interval: float,
        state: AssetState,
        what: Mapping[str, Any],
    ) -> None:
        self._conn_id = conn_id
        self._wanted = wanted
        self._noun = noun
        self._poll_interval = poll_interval
        self._state = state
        self._what = what
        self._name = f"The watcher of {noun} {wanted.subject_id}"
        self._clock = TrifactaHook(conn_id).clock
        self._began: float | None = self._clock.time()
        self._failures = 0
        self._stored_at: float | None = None

    async def payloads(self) -> AsyncGenerator[dict[str, Any], None]:
        """Yield the payload of an event for each run, forever."""
        cursor: Cursor | None = None
        followed = ""
        while True:
            try:
                hook = TrifactaHook(self._conn_id, retry_budget=_RETRY_BUDGET, clock=self._clock)
                async with watching(hook) as watch:
                    key = self._key(watch.client.settings.base_url)
                    if cursor is None or key != followed:
                        cursor, followed = await self._begin(key), key
                    async with following(watch, cursor, self._poll_interval) as follower:
                        while await follower.news():
                            self._failures = 0
                            has_reported = False
                            for run_id in cursor.due(self._clock.monotonic()):
                                payload = await self._payload_of(run_id, follower)
                                if payload is not None:
                                    has_reported = True
                                    yield payload
                            await self._store(key, cursor, has_reported=has_reported)
            except Exception as error:
                await self._pause_after(error)

    async def _pause_after(self, error: Exception) -> None:
        self._failures += 1
        pause = backoff(_FIRST_RETRY, _LAST_RETRY, self._failures)
        log.error(
            "%s cannot work, and tries again in %s; what ends meanwhile is reported then. %s",
            self._name,
            spoken(pause),
            line(f"{type(error).__name__}: {error}"),
        )
        await self._clock.async_sleep(pause)

    # ----------------------------------------------------------------------------------------------- one run

    async def _payload_of(self, run_id: str, follower: Follower) -> dict[str, Any] | None:
        """Read a run; return the payload of its event, None if there is none (yet)."""
        cursor = follower.cursor
        try:
            run = await self._read(run_id, follower)
            if run is None or run.subject_id not in (None, self._wanted.subject_id):
                cursor.close(run_id)
                return None
            if not run.has_ended:
                cursor.still_running(run_id, self._clock.monotonic())
                return None
            if cursor.ended_before(run):
                cursor.report(run_id)
                return None
            if not self._is_wanted(run):
                cursor.close(run_id)
                return None
            payload = run.payload(follower.page_of(run), await follower.outputs_of(run))
        except Exception as error:  # one run that cannot be read is no reason not to report others
            self._log_failure(run_id, error, given_up=cursor.failed(run_id, self._clock.monotonic()))
            return None
        cursor.report(run_id)
        return payload

    def _is_wanted(self, run: FinishedRun) -> bool:
        missing = self._wanted.missing(run)
        if missing is not None:
            log.warning(
                "%s: %s ended, and the API does not report %s: no event", self._name, self._run(run.id), missing
            )
        return self._wanted.is_met_by(run)

    async def _read(self, run_id: str, follower: Follower) -> FinishedRun | None:
        """Read a run; None if it is none of the subject, or does not exist any more.

        :raises TrifactaApiError: it could not be read.
        """
        open_run = follower.cursor.open.get(run_id)
        row = open_run.row if open_run else None
        subject_id: str | None = None
        if self._wanted.kind == "flow_run":
            subject_id = await follower.flow_of(run_id, row.id if row else None)
        elif self._wanted.kind == "plan_snapshot_run":
            subject_id = await follower.plan_of(run_id, row.subject_id if row else None)
        if self._wanted.kind != "job_group" and subject_id != self._wanted.subject_id:
            if subject_id is None:
                what = self._run(run_id)
                log.warning("%s: which %s %s ran cannot be known: no event", self._name, self._noun, what)
            return None
        run = await follower.read(run_id, subject_id=subject_id, row=row)
        if run is None:
            log.info("%s: %s does not exist any more: no event", self._name, self._run(run_id))
        return run

    def _run(self, run_id: str) -> str:
        return f"{KINDS[self._wanted.kind].noun} {run_id}"

    def _log_failure(self, run_id: str, error: Exception, *, given_up: bool) -> None:
        log.warning(
            "%s: %s may have ended, but cannot be read. %s: %s",
            self._name,
            self._run(run_id),
            "It is given up, without an event" if given_up else "It is read again later",
            line(f"{type(error).__name__}: {error}"),
        )

    # --------------------------------------------------------------------------------------- what is remembered

    def _key(self, base_url: str) -> str:
        """Return the key of the cursor: another one for other runs, and for those of another server."""
        what = json.dumps([base_url, self._what], sort_keys=True)
        return f"trifacta_run_finished_{hashlib.sha256(what.encode()).hexdigest()[:32]}"

    async def _begin(self, key: str) -> Cursor:
        """Return the cursor that was stored, or a new one.

        :raises Exception: what was stored could not be read. To begin anew would lose what ended meanwhile.
        """
        stored = await self._state.read(key)
        now = self._clock.monotonic()
        found = [cursor for value in stored if (cursor := Cursor.read(self._wanted, value, now)) is not None]
        if not found:
            if stored:
                log.warning("%s: what was stored cannot be read", self._name)
            # At first, that is when the trigger started, however long it took to get here.
            began = self._began or self._clock.time()
            self._began = None
            log.info("%s reports what ends after %s", self._name, moment_after(began, 0))
            return Cursor(self._wanted, began)
        cursor = max(found, key=lambda one: one.since)
        left_at = cursor.since
        if cursor.skip_to(self._clock.time() - LONGEST_CATCH_UP):
            log.warning(
                "%s was away since %s. Runs that ended more than %s ago are skipped: no DAG is started for them",
                self._name,
                moment_after(left_at, 0),
                spoken(LONGEST_CATCH_UP),
            )
        log.info("%s goes on with what changed after %s", self._name, moment_after(cursor.since, 0))
        return cursor

    async def _store(self, key: str, cursor: Cursor, *, has_reported: bool) -> None:
        """Store the cursor if that is due. An error is logged: the next time may succeed.

        Not before the events have left the triggerer's memory: then one that dies loses none.
        """
        if not self._state or not cursor.is_ready:
            return
        now = self._clock.monotonic()
        if not has_reported and self._stored_at is not None and now - self._stored_at < _STORE_AFTER:
            return
        if has_reported:
            self._stored_at = None
            for _ in range(_SLEEPS_BEFORE_STORING):
                await self._clock.async_sleep(1.0)
        try:
            await self._state.write(key, cursor.plain())
        except Exception as error:
            log.warning(
                "%s could not store what it reported, so a restart may report it again: %s",
                self._name,
                line(f"{type(error).__name__}: {error}"),
            )
        else:
            self._stored_at = now
