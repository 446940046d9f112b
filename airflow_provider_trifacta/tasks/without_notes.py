"""What a retry does on Airflow 3.0 to 3.2, where earlier tries could not leave a note.

To be dropped with these versions: 2.11 has the audit log, and 3.3 and later have the task state store.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_trifacta.api.errors import (
    TrifactaApiError,
    TrifactaDuplicateExecution,
    TrifactaSubmitOutcomeUnknown,
)
from airflow_provider_trifacta.api.messages import Id
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.kind import FoundRun, name_of, ref_of
from airflow_provider_trifacta.api.statuses import is_bad_end, is_success
from airflow_provider_trifacta.api.submission import find_runs, why_undecided, without_doubt
from airflow_provider_trifacta.exceptions import TrifactaWaitFailed

if TYPE_CHECKING:
    from airflow_provider_trifacta.tasks.attempts import CurrentRun, RunAttempts


class WithoutNotes:
    """Finds the run of earlier tries that left no note, or starts the next attempt.

    A series has at most one run that may still succeed. The runs that ended badly are counted, and the next
    attempt has the number after them.
    """

    def __init__(self, attempts: RunAttempts) -> None:
        self._attempts = attempts

    def begin(self) -> CurrentRun:
        """Return the run to wait for."""
        from airflow_provider_trifacta.tasks.attempts import CurrentRun

        attempts, series = self._attempts, self._attempts.series
        siblings = set(attempts.siblings())
        runs = [run for run in self._found() if str(run.id) not in siblings]
        bad = [run for run in runs if _ended_badly(run)]
        good = [run for run in runs if not _ended_badly(run)]
        number = len(bad) + 1
        not_ours = [run.id for run in bad]
        if series.was_cleared:
            # A run that is Complete may be the reason for the clear.
            not_ours += [run.id for run in good if _is_complete(run)]
            good = [run for run in good if not _is_complete(run)]
        good = without_doubt(good)
        if len(good) > 1 or any(run.doubt for run in good):
            raise TrifactaSubmitOutcomeUnknown(
                what=attempts.launch.subject,
                execution_id=series.execution_id(number),
                since=datetime.fromtimestamp(series.began, UTC),
                reason=f"an earlier try may have started one. {why_undecided(good)}",
                candidates=[run.id for run in good],
            )
        if not good and bad and series.was_cleared:
            return self._start_first_missing(len(bad), tuple(not_ours))
        if not good:
            return attempts.start(number, tuple(not_ours))
        run = ref_of(attempts.launch, good[0].id)
        attempts.adopt(attempts.note(number, tuple(not_ours)), run)
        attempts.log.warning(
            "Adopted %s, which an earlier try started: nothing new was started", name_of(attempts.launch.kind, run)
        )
        return CurrentRun(run, continued=True)

    def _found(self) -> list[FoundRun]:
        """Find the runs that earlier tries may have started, each with its status."""
        attempts = self._attempts

        def find() -> Procedure[list[FoundRun]]:
            runs = yield from find_runs(attempts.launch, attempts.series.began, attempts.hook.clock)
            found = []
            for run in runs:
                status = run.status
                if status is None:
                    status = yield from attempts.launch.kind.status(ref_of(attempts.launch, run.id))
                found.append(replace(run, status=status))
            return found

        try:
            return attempts.hook.run(find())
        except TrifactaApiError as error:
            raise TrifactaWaitFailed(
                f"Earlier tries may have started {attempts.launch.subject}, and searching for it failed, so "
                f"nothing new was started: {error}"
            ) from error

    def _start_first_missing(self, at_most: int, not_ours: tuple[Id, ...]) -> CurrentRun:
        """Start the first attempt that was not submitted yet, when the number of submits is not known.

        Of the runs that ended badly, some are from before the clear and some are attempts of this series. The
        server can tell: it refuses an execution id that it has seen. If one is refused, its run is searched for as
        long as lists may lag; a run that does not show by then is among those that ended.

        :param at_most: the maximum number of attempts so far.
        """
        attempts = self._attempts
        for number in range(1, at_most + 1):
            try:
                note = attempts.note(number, not_ours)
                return attempts.submit(note, since=attempts.series.began, sent_before=True)
            except TrifactaSubmitOutcomeUnknown as error:
                if not isinstance(error.__cause__, TrifactaDuplicateExecution):
                    raise
                attempts.log.info("Attempt %d was submitted earlier and has ended: trying the next one", number)
        return attempts.start(at_most + 1, not_ours)


def _ended_badly(run: FoundRun) -> bool:
    return run.status is not None and is_bad_end(run.status)


def _is_complete(run: FoundRun) -> bool:
    return run.status is not None and is_success(run.status)
