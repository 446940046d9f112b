"""Which job group a try of a task waits for: the one it starts, or the one that an earlier try started."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_trifacta.api.error_answers import is_permanent_refusal, says_gone
from airflow_provider_trifacta.api.errors import (
    TrifactaApiError,
    TrifactaDuplicateExecution,
    TrifactaSubmitOutcomeUnknown,
    TrifactaTaskKilled,
    TrifactaUnauthorized,
)
from airflow_provider_trifacta.api.operations import cancel_job_group, get_job_group_status
from airflow_provider_trifacta.api.procedures import Pause, Procedure
from airflow_provider_trifacta.api.statuses import is_bad_end, is_final, is_success
from airflow_provider_trifacta.api.submission import (
    Run,
    find_runs,
    find_submitted,
    submit_once,
    why_undecided,
    without_doubt,
)
from airflow_provider_trifacta.exceptions import TrifactaJobGroupError, TrifactaSubmitRefused, TrifactaWaitFailed
from airflow_provider_trifacta.tasks.announce import announce_start
from airflow_provider_trifacta.tasks.notes import AttemptNote, AttemptNotes

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.job_group_launch import JobGroupLaunch
    from airflow_provider_trifacta.api.logs import Log
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.tasks.series import Series

#: Seconds that the job group of before a clear may take to stop.
_STOP_PATIENCE = 300.0
_FIRST_PAUSE = 1.0
_LONGEST_PAUSE = 30.0
#: Seconds that each call of a killed task may take.
_CALL_OF_THE_KILLED = 1.5


@dataclass(frozen=True)
class Begun:
    """The job group of a try.

    :param continued: whether an earlier try started it.
    """

    job_group_id: int
    continued: bool


class JobGroupAttempts:
    """Starts the job group that a series owes, or finds the one it has.

    :param hook: talks to the server.
    :param launch: what to start.
    :param series: what the task owes.
    :param notes: what earlier tries wrote down.
    :param siblings: gives job groups that are known to be other tasks'.
    :param on_known: is told the job group as soon as it is known, before anything else happens.
    :param cancel_superseded: whether the job group of before a clear is canceled.
    """

    def __init__(
        self,
        hook: TrifactaHook,
        launch: JobGroupLaunch,
        series: Series,
        notes: AttemptNotes,
        *,
        siblings: Callable[[], Collection[str]],
        on_known: Callable[[int], None],
        cancel_superseded: bool,
        log: Log,
    ) -> None:
        self._hook = hook
        self._launch = launch
        self._series = series
        self._notes = notes
        self._siblings = siblings
        self._on_known = on_known
        self._cancel_superseded = cancel_superseded
        self._log = log

    def begin(self) -> Begun:
        """Return the job group to wait for; start one unless an earlier try has one that may succeed.

        :raises TrifactaSubmitRefused: the server will never start it.
        :raises TrifactaSubmitOutcomeUnknown: it cannot be told whether it was started.
        :raises TrifactaWaitFailed: it cannot be told how the one of an earlier try is; nothing new was started.
        :raises TrifactaTaskKilled: the hook was interrupted before anything new was started.
        """
        note = self._read()
        if note is None:
            return self._start(1) if self._series.is_first_try else self._find_or_start()
        if note.series != str(self._series.key) or note.try_number > self._series.try_number:
            self._end_superseded(note)
            return self._start(1, note.job_groups)
        if note.job_group_id is None:
            return self._submit(note, since=note.sent_at, sent_before=True)
        self._on_known(note.job_group_id)
        ended = self._how_it_ended_badly(note.job_group_id)
        if ended is None:
            self._log.info("Going on with job group %s, which an earlier try started", note.job_group_id)
            return Begun(note.job_group_id, continued=True)
        self._log.info("Job group %s of an earlier try %s: starting a new one", note.job_group_id, ended)
        return self._start(note.number + 1, note.job_groups)

    # ------------------------------------------------------------------------------------------------- starting

    def _start(self, number: int, ended: tuple[int, ...] = ()) -> Begun:
        """Start an attempt that no earlier try has submitted, as far as is known."""
        note = self._note(number, ended)
        # Who else could have submitted it is a try of this series that is still alive. After a clear, what is
        # older than this moment may be of the series before.
        return self._submit(note, since=note.sent_at if self._series.was_cleared else self._series.began)

    def _note(self, number: int, ended: tuple[int, ...]) -> AttemptNote:
        return AttemptNote(
            series=str(self._series.key),
            number=number,
            execution_id=self._series.execution_id(number),
            sent_at=self._hook.clock.time(),
            try_number=self._series.try_number,
            ended=ended,
        )

    def _submit(self, note: AttemptNote, *, since: float, sent_before: bool = False) -> Begun:
        self._hook.check_interrupt()
        announce_start(self._launch, self._log)
        # Written before the submit: no note means that nothing was sent, wherever notes are kept.
        self._write(note)
        procedure = submit_once(
            self._launch,
            note.execution_id,
            since=since,
            sent_before=sent_before,
            not_ours=self._not_ours(note),
            retries=self._hook.client.settings.retries,
            clock=self._hook.clock,
            random_number=random.random,
            log=self._log,
        )
        try:
            submission = self._hook.run(procedure)
        except TrifactaSubmitOutcomeUnknown as error:
            if not isinstance(error.__cause__, TrifactaTaskKilled):
                raise
            run = self._look_once_more(note, since, sent_before)
            if run is None:
                raise
            job_group_id, adopted = run.id, True
        except TrifactaApiError as error:
            if is_permanent_refusal(error):
                raise TrifactaSubmitRefused.because_of(error) from error
            raise
        else:
            job_group_id, adopted = submission.run_id, submission.outcome == "adopted"
        self._on_known(job_group_id)
        self._write(replace(note, job_group_id=job_group_id))
        return Begun(job_group_id, continued=sent_before and adopted)

    def _not_ours(self, note: AttemptNote) -> Callable[[], set[str]]:
        return lambda: {*map(str, note.ended), *self._siblings()}

    def _look_once_more(self, note: AttemptNote, since: float, sent_before: bool) -> Run | None:
        """Find what a killed submit has started, so that it can be canceled, in the seconds that are left."""
        procedure = find_submitted(
            self._launch,
            note.execution_id,
            since=since,
            sent_before=sent_before,
            not_ours=self._not_ours(note),
            clock=self._hook.clock,
            random_number=random.random,
        )
        with self._hook.client.detached(budget=0, timeout=_CALL_OF_THE_KILLED) as client:
            try:
                return client.run(procedure)
            except TrifactaSubmitOutcomeUnknown:
                return None

    # --------------------------------------------------------------------------------------------- without notes

    def _find_or_start(self) -> Begun:
        """Find the job group of the earlier tries without a note of theirs, or start the next attempt.

        A series has at most one that may still succeed; those that ended badly are counted: the next attempt has
        the number after them.
        """
        since = self._series.began
        try:
            runs = self._hook.run(find_runs(self._launch, since, self._hook.clock))
        except TrifactaApiError as error:
            raise TrifactaWaitFailed(
                f"Earlier tries may have started {self._launch.what}, and it could not be looked for, so nothing "
                f"new was started: {error}"
            ) from error
        siblings = set(self._siblings())
        runs = [run for run in runs if str(run.id) not in siblings]
        bad = [run for run in runs if _ended_badly(run)]
        good = [run for run in runs if not _ended_badly(run)]
        number = len(bad) + 1
        not_ours = [run.id for run in bad]
        if self._series.was_cleared:
            # One that is Complete may be why the task was cleared.
            not_ours += [run.id for run in good if _is_complete(run)]
            good = [run for run in good if not _is_complete(run)]
        good = without_doubt(good)
        if len(good) > 1 or any(run.doubt for run in good):
            raise TrifactaSubmitOutcomeUnknown(
                what=self._launch.what,
                execution_id=self._series.execution_id(number),
                since=datetime.fromtimestamp(since, UTC),
                reason=f"an earlier try may have started one. {why_undecided(good)}",
                candidates=[run.id for run in good],
            )
        if not good and bad and self._series.was_cleared:
            return self._start_first_missing(len(bad), tuple(not_ours))
        if not good:
            return self._start(number, tuple(not_ours))
        (run,) = good
        self._on_known(run.id)
        self._write(replace(self._note(number, tuple(not_ours)), job_group_id=run.id))
        self._log.warning("Adopted job group %s, which an earlier try started: nothing new was started", run.id)
        return Begun(run.id, continued=True)

    def _start_first_missing(self, at_most: int, not_ours: tuple[int, ...]) -> Begun:
        """Start the first attempt that was not submitted, when it is not known how many were.

        Of the job groups that ended badly, some are of before the clear and some are attempts of this series. The
        server knows: it refuses an execution id that it has seen. The job group behind a refused one is waited for
        as long as lists may lag; one that does not show then is among those that ended.

        :param at_most: how many attempts there may have been.
        """
        for number in range(1, at_most + 1):
            try:
                return self._submit(self._note(number, not_ours), since=self._series.began, sent_before=True)
            except TrifactaSubmitOutcomeUnknown as error:
                if not isinstance(error.__cause__, TrifactaDuplicateExecution):
                    raise
                self._log.info("Attempt %d was submitted before and has ended: going on to the next", number)
        return self._start(at_most + 1, not_ours)

    # ------------------------------------------------------------------------------------------ earlier job groups

    def _how_it_ended_badly(self, job_group_id: int) -> str | None:
        """Return how a job group ended, None when it may still succeed or has."""
        budget = self._hook.client.settings.retries.budget
        try:
            status = self._hook.run(_patient_status(job_group_id, budget, self._hook.clock.monotonic))
        except TrifactaApiError as error:
            if says_gone(error):
                return "does not exist any more"
            raise TrifactaWaitFailed(
                f"An earlier try started job group {job_group_id}, and its status could not be read, so nothing "
                f"new was started: {error}"
            ) from error
        return f"is {status}" if is_bad_end(status) else None

    def _end_superseded(self, note: AttemptNote) -> None:
        """See to it that the job group of before a clear does not run beside the new one.

        Whoever cleared the task has it canceled already, unless it was in the middle of something.
        """
        job_group_id = note.job_group_id
        if job_group_id is None:
            self._log.warning(
                "Before the task was cleared, %s was submitted at %s UTC with execution id %s, and the answer was "
                "not awaited. If it was started, it runs on",
                self._launch.what,
                f"{datetime.fromtimestamp(note.sent_at, UTC):%Y-%m-%d %H:%M:%S}",
                note.execution_id,
            )
            return
        try:
            status = self._hook.run(self._stop(job_group_id))
        except TrifactaApiError as error:
            if says_gone(error):
                return
            raise TrifactaWaitFailed(
                f"Job group {job_group_id}, of before the task was cleared, could not be stopped or looked at, so "
                f"nothing new was started: {error}"
            ) from error
        if status is None or is_final(status):
            return
        raise TrifactaJobGroupError(
            f"Job group {job_group_id}, of before the task was cleared, is still {status} {_STOP_PATIENCE:.0f} s "
            "after it was asked to cancel, so nothing new was started",
            job_group_id=job_group_id,
            status=status,
        )

    def _stop(self, job_group_id: int) -> Procedure[str | None]:
        """Cancel a job group and wait until it has ended. Give its status, None when it is left alone."""
        status: str = yield get_job_group_status(job_group_id)
        if is_final(status):
            return status
        if not self._cancel_superseded:
            self._log.warning(
                "Job group %s, of before the task was cleared, is %s and is left alone (cancel_on_kill=False)",
                job_group_id,
                status,
            )
            return None
        self._log.info("Canceling job group %s, of before the task was cleared", job_group_id)
        yield cancel_job_group(job_group_id)
        until = self._hook.clock.monotonic() + _STOP_PATIENCE
        pause = _FIRST_PAUSE
        while not is_final(status) and self._hook.clock.monotonic() < until:
            yield Pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
            status = yield get_job_group_status(job_group_id)
        return status

    # ----------------------------------------------------------------------------------------------------- notes

    def _read(self) -> AttemptNote | None:
        try:
            return self._notes.read()
        except Exception as error:
            self._log.warning("The note of an earlier try could not be read: %s", error)
            return None

    def _write(self, note: AttemptNote) -> None:
        try:
            self._notes.write(note)
        except Exception as error:
            # Nothing depends on it that the server could not tell a later try.
            self._log.warning("The note for a later try could not be kept: %s", error)


def _ended_badly(run: Run) -> bool:
    return run.status is not None and is_bad_end(run.status)


def _is_complete(run: Run) -> bool:
    return run.status is not None and is_success(run.status)


def _patient_status(job_group_id: int, budget: float, monotonic: Callable[[], float]) -> Procedure[str]:
    """Read a status, also through a time in which the token is refused: it may be about to be replaced."""
    until = monotonic() + budget
    pause = _FIRST_PAUSE
    while True:
        try:
            status: str = yield get_job_group_status(job_group_id)
        except TrifactaUnauthorized:
            if monotonic() + pause > until:
                raise
            yield Pause(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)
        else:
            return status
