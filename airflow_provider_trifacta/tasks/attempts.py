"""Decides which run a try of a task waits for: a new one, or the one that an earlier try started."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.error_answers import is_permanent_refusal, says_gone
from airflow_provider_trifacta.api.errors import (
    TrifactaApiError,
    TrifactaRateLimited,
    TrifactaRunRefused,
    TrifactaSubmitOutcomeUnknown,
    TrifactaTaskKilled,
)
from airflow_provider_trifacta.api.messages import Id
from airflow_provider_trifacta.api.runs.kind import (
    FoundRun,
    Launch,
    RunKind,
    RunRef,
    name_of,
    ref_of,
    title_of,
)
from airflow_provider_trifacta.api.runs.kinds import KINDS
from airflow_provider_trifacta.api.runs.stopping import stop_run
from airflow_provider_trifacta.api.runs.waiting import status_patiently
from airflow_provider_trifacta.api.statuses import is_bad_end, is_final
from airflow_provider_trifacta.api.submission import find_submitted, submit_once
from airflow_provider_trifacta.exceptions import TrifactaSubmitRefused, TrifactaWaitFailed
from airflow_provider_trifacta.tasks.announce import announce_start
from airflow_provider_trifacta.tasks.notes import AttemptNote, AttemptNotes
from airflow_provider_trifacta.tasks.outcome import still_running
from airflow_provider_trifacta.tasks.start_slots import StartPostponed
from airflow_provider_trifacta.tasks.without_notes import WithoutNotes

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.logs import Log
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.tasks.series import Series
    from airflow_provider_trifacta.tasks.start_slots import StartSlots

#: Seconds that the run from before a clear may take to stop.
_STOP_PATIENCE = 300.0
#: Seconds that each call may take once the task is killed.
_CALL_OF_THE_KILLED = 1.5


@dataclass(frozen=True)
class CurrentRun:
    """The run of a try.

    :param continued: whether an earlier try started it.
    """

    run: RunRef
    continued: bool


class RunAttempts:
    """Starts the run of a series, or finds the one it already has.

    :param hook: talks to the server.
    :param launch: what to start.
    :param series: the series that the task works on.
    :param notes: the notes of earlier tries.
    :param siblings: returns runs that are known to belong to other tasks.
    :param on_known: receives the run as soon as it is known, before anything else happens.
    :param cancel_superseded: whether the run from before a clear is canceled.
    :param slots: decides whether the task waits for a slot outside the worker; None waits in the worker.
    :param quota_hint: what is logged before a wait in the worker.
    """

    def __init__(
        self,
        hook: TrifactaHook,
        launch: Launch,
        series: Series,
        notes: AttemptNotes,
        *,
        siblings: Callable[[], Collection[str]],
        on_known: Callable[[RunRef], None],
        cancel_superseded: bool,
        log: Log,
        slots: StartSlots | None = None,
        quota_hint: str | None = None,
    ) -> None:
        self.hook = hook
        self.launch = launch
        self.series = series
        self._notes = notes
        self.siblings = siblings
        self._on_known = on_known
        self._cancel_superseded = cancel_superseded
        self.log = log
        self._slots = slots
        self._quota_hint = quota_hint
        self._noted_as_unsent = False

    def begin(self) -> CurrentRun:
        """Return the run to wait for; start one unless an earlier try has one that may still succeed.

        :raises TrifactaSubmitRefused: the server will never start it.
        :raises TrifactaSubmitOutcomeUnknown: it may or may not have been started.
        :raises TrifactaWaitFailed: the status of an earlier try's run could not be read; nothing new was started.
        :raises TrifactaTaskKilled: the hook was interrupted before anything new was started.
        :raises StartPostponed: nothing new was started: the task waits for a slot first.
        """
        note = self._read()
        if note is None:
            return self.start(1) if self.series.is_first_try else WithoutNotes(self).begin()
        if note.series != str(self.series.key) or note.try_number > self.series.try_number:
            self._end_superseded(note)
            return self.start(1, note.runs if note.kind == self.launch.kind.name else ())
        if not note.sent:
            self._noted_as_unsent = True
            return self.start(note.number, note.ended)
        if note.run_id is None:
            return self.submit(note, since=note.sent_at, sent_before=True)
        run = ref_of(self.launch, note.run_id, note.parts)
        self._on_known(run)
        ended = self._how_it_ended_badly(run)
        if ended is None:
            self.log.info("Continuing with %s, which an earlier try started", name_of(self.launch.kind, run))
            return CurrentRun(run, continued=True)
        self.log.info("%s of an earlier try %s: starting a new one", title_of(self.launch.kind, run), ended)
        return self.start(note.number + 1, note.runs)

    # ------------------------------------------------------------------------------------------------- starting

    def start(self, number: int, ended: tuple[Id, ...] = ()) -> CurrentRun:
        """Start an attempt that no earlier try has submitted, as far as is known."""
        note = self.note(number, ended)
        # The only other process that could have submitted this attempt is an earlier try that is still running.
        # After a clear, anything older than now may belong to the previous series, so search from now.
        return self.submit(note, since=note.sent_at if self.series.was_cleared else self.series.began)

    def note(self, number: int, ended: tuple[Id, ...]) -> AttemptNote:
        """Return the note of an attempt that is about to be submitted."""
        return AttemptNote(
            series=str(self.series.key),
            number=number,
            execution_id=self.series.execution_id(number),
            sent_at=self.hook.clock.time(),
            try_number=self.series.try_number,
            ended=ended,
            kind=self.launch.kind.name,
            subject_id=self.launch.subject_id,
        )

    def submit(self, note: AttemptNote, *, since: float, sent_before: bool = False) -> CurrentRun:
        """Submit an attempt, or find what an earlier submit of it started."""
        self.hook.check_interrupt()
        # What an earlier submit may have started is looked for at once, and needs no slot.
        slots = None if sent_before else self._slots
        if slots is not None:
            try:
                slots.check()
            except StartPostponed:
                self._write_unsent(note)
                raise
        announce_start(self.launch, self.log)
        # Written before the submit: where notes are kept, no note means that nothing was sent.
        self._write_as_sent(note)
        procedure = submit_once(
            self.launch,
            note.execution_id,
            since=since,
            sent_before=sent_before,
            not_ours=self._not_ours(note),
            retries=self.hook.client.settings.retries,
            clock=self.hook.clock,
            random_number=random.random,
            log=self.log,
            wait_for_quota=slots is None,
            quota_hint=self._quota_hint,
        )
        try:
            submission = self.hook.run(procedure)
        except TrifactaSubmitOutcomeUnknown as error:
            if not isinstance(error.__cause__, TrifactaTaskKilled):
                raise
            found = self._search_once_more(note, since, sent_before)
            if found is None:
                raise
            run, adopted = ref_of(self.launch, found.id), True
        except TrifactaApiError as error:
            if is_permanent_refusal(error):
                raise self._refused(error) from error
            if slots is not None and isinstance(error, TrifactaRateLimited):
                self._write_unsent(note)
                raise slots.refused(error) from error
            raise
        else:
            run = ref_of(self.launch, submission.run_id, submission.parts)
            adopted = submission.outcome == "adopted"
        self.adopt(note, run)
        if slots is not None:
            slots.submitted()
        return CurrentRun(run, continued=sent_before and adopted)

    def adopt(self, note: AttemptNote, run: RunRef) -> None:
        """Adopt a run as the one of an attempt, and note it."""
        self._on_known(run)
        self._write(replace(note, run_id=run.id, parts=run.parts))

    def _refused(self, error: TrifactaApiError) -> TrifactaSubmitRefused:
        """Cancel what was started anyway, and return the error for a start that would be refused again."""
        refusal = TrifactaSubmitRefused.because_of(error, self.launch.refusal_hints)
        if isinstance(error, TrifactaRunRefused):
            if error.explain is not None:
                with decoration(f"The reason why {self.launch.subject} was refused could not be read", self.log):
                    refusal.hint = f"{self.hook.run(error.explain())} {refusal.hint}".lstrip()
            if error.run_id is not None:
                kind, run = self.launch.kind, ref_of(self.launch, error.run_id)
                with decoration(f"{title_of(kind, run)} could not be canceled and may still be running", self.log):
                    self.hook.run(kind.cancel(run))
                    self.log.warning("%s was canceled", title_of(kind, run))
        return refusal

    def _not_ours(self, note: AttemptNote) -> Callable[[], set[str]]:
        return lambda: {*map(str, note.ended), *self.siblings()}

    def _search_once_more(self, note: AttemptNote, since: float, sent_before: bool) -> FoundRun | None:
        """Find the run that an interrupted submit started, in the seconds that are left, to cancel it."""
        procedure = find_submitted(
            self.launch,
            note.execution_id,
            since=since,
            sent_before=sent_before,
            not_ours=self._not_ours(note),
            clock=self.hook.clock,
            random_number=random.random,
        )
        with self.hook.client.detached(budget=0, timeout=_CALL_OF_THE_KILLED) as client:
            try:
                return client.run(procedure)
            except TrifactaSubmitOutcomeUnknown:
                return None

    # ------------------------------------------------------------------------------------------------ earlier runs

    def _how_it_ended_badly(self, run: RunRef) -> str | None:
        """Return how a run ended badly; None if it succeeded or still may."""
        kind = self.launch.kind
        budget = self.hook.client.settings.retries.budget
        try:
            status = self.hook.run(status_patiently(kind, run, patience=budget, clock=self.hook.clock))
            if is_bad_end(status) and self.hook.run(kind.started_nothing(run)):
                # The wait for it reports why, and that another run would end the same way.
                return None
        except TrifactaApiError as error:
            if says_gone(error):
                return "no longer exists"
            raise TrifactaWaitFailed(
                f"An earlier try started {name_of(kind, run)}, but its status could not be read, so nothing new "
                f"was started: {error}"
            ) from error
        return f"is {status}" if is_bad_end(status) else None

    def _end_superseded(self, note: AttemptNote) -> None:
        """Make sure that the run from before a clear does not run beside the new one.

        Clearing a task cancels its run, unless the task was in the middle of a call.
        """
        if not note.sent:
            return
        if note.run_id is None:
            self.log.warning(
                "Before the task was cleared, %s was submitted at %s UTC with execution id %s, but no answer was "
                "received. If it was started, it keeps running",
                self.launch.subject,
                f"{datetime.fromtimestamp(note.sent_at, UTC):%Y-%m-%d %H:%M:%S}",
                note.execution_id,
            )
            return
        # Not taken from this launch: the DAG may have changed since the clear.
        kind = KINDS[note.kind]
        run = RunRef(note.run_id, note.parts, note.subject_id)
        try:
            status = self._stop(kind, run)
        except TrifactaApiError as error:
            if says_gone(error):
                return
            raise TrifactaWaitFailed(
                f"{title_of(kind, run)}, from before the task was cleared, could not be canceled or polled, so "
                f"nothing new was started: {error}"
            ) from error
        if status is None or is_final(status):
            return
        raise still_running(
            kind,
            f"{title_of(kind, run)}, from before the task was cleared, is still {status} {_STOP_PATIENCE:.0f} s "
            "after it was asked to cancel, so nothing new was started",
            run,
            status,
        )

    def _stop(self, kind: RunKind, run: RunRef) -> str | None:
        """Cancel a run and wait until it has ended. Return its status, None if it is left running."""
        status = self.hook.run(kind.status(run))
        if is_final(status):
            return status
        if not self._cancel_superseded:
            self.log.warning(
                "%s, from before the task was cleared, is %s and is left running (cancel_on_kill=False)",
                title_of(kind, run),
                status,
            )
            return None
        self.log.info("Canceling %s, from before the task was cleared", name_of(kind, run))
        return self.hook.run(stop_run(kind, run, patience=_STOP_PATIENCE, clock=self.hook.clock))

    # ----------------------------------------------------------------------------------------------------- notes

    def _read(self) -> AttemptNote | None:
        try:
            return self._notes.read()
        except Exception as error:
            self.log.warning("The note of an earlier try could not be read: %s", error)
            return None

    def _write_as_sent(self, note: AttemptNote) -> None:
        """Note that an attempt is about to be sent.

        :raises TrifactaWaitFailed: a note says that it was not sent, and cannot be replaced: a later try would
            believe it. Airflow refuses notes of a try that it has given up.
        """
        if not self._noted_as_unsent:
            self._write(note)
            return
        try:
            self._notes.write(note)
        except Exception as error:
            raise TrifactaWaitFailed(
                f"Nothing was submitted, because the note that says so could not be replaced: {error}. A retry of "
                "the task submits it"
            ) from error

    def _write_unsent(self, note: AttemptNote) -> None:
        """Note that nothing was sent, unless a later try that Airflow has started meanwhile has noted more."""
        latest = self._read()
        if latest is None or latest.try_number <= note.try_number:
            self._write(replace(note, sent=False))

    def _write(self, note: AttemptNote) -> None:
        try:
            self._notes.write(note)
        except Exception as error:
            # Without the note, a later try can find everything out from the server.
            self.log.warning("The note for a later try could not be stored: %s", error)
