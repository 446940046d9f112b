"""Starting a run exactly once: how to handle every possible outcome of a submit.

The API's run routes take an ``x-execution-id``: a second submit with the same one is answered 304, which does not
name the run that the first one started (api/README.md, section 4). So a lost answer is handled like this::

    lost answer ──> search for the run ──> exactly one match: adopt it ("adopted")
         ^                          ├──> several matches, or one with a doubt: stop
         │                          └──> none: submit again, with the same execution id
         │                                  ├──> 201: done ("started"); without an id, like 304
         │                                  ├──> 304: it exists: search until a list shows it, or stop;
         │                                  │         a match with a doubt is adopted if it is the only one left
         └──────────────────────────────────┴──> lost again

We search before submitting again because older releases ignore the header. That is also why a match with a doubt
stops a submit: lists may contain undocumented values. The meaning of a 304, and how long lists may lag, are
decided only here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Literal

from airflow_provider_trifacta.api.clock import Clock
from airflow_provider_trifacta.api.error_answers import is_permanent_refusal
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaDuplicateExecution,
    TrifactaSubmitOutcomeUnknown,
    TrifactaTaskKilled,
)
from airflow_provider_trifacta.api.identity import Me, who_am_i
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.messages import Id, JsonObject, Operation
from airflow_provider_trifacta.api.procedures import Pause, Procedure
from airflow_provider_trifacta.api.retries import RetryPolicy, may_have_been_carried_out
from airflow_provider_trifacta.api.runs.kind import FoundRun, Launch
from airflow_provider_trifacta.api.text import sentence

#: Seconds to search for a run that provably exists: lists may lag.
_PATIENCE_FOR_EXISTING = 120.0
#: The status of a successful answer to a start.
_CREATED = 201
#: Seconds to search for a run that may exist, before it is submitted again.
_PATIENCE_FOR_LOST = 3.0
#: Seconds for which a killed task searches for the run it may have started: two polls. Airflow 3 allows five
#: seconds in all.
_PATIENCE_OF_THE_KILLED = 1.0
#: Seconds between the first two polls of the lists, and how that interval grows.
_FIRST_PAUSE = 1.0
_GROWTH = 1.5
_LONGEST_PAUSE = 15.0
#: Maximum clock skew, in seconds, between machines of one installation. Kept small: a foreign run of the same
#: recipe inside this window could be mistaken for ours.
_CLOCK_MARGIN = 1.0
_CLOCK_MARGIN_OF_ANOTHER_MACHINE = 5.0


@dataclass(frozen=True)
class Submission:
    """A run that is known to exist.

    :param run_id: its id.
    :param execution_id: the ``x-execution-id`` it was submitted with.
    :param outcome: ``started``, or ``adopted``: an earlier submit with the same execution id had started it.
    :param parts: the job groups named in the answer to the start of a flow.
    """

    run_id: Id
    execution_id: str
    outcome: Literal["started", "adopted"]
    parts: tuple[int, ...] = ()


def nobody() -> Collection[str]:
    """Exclude no runs."""
    return ()


def submit_once(
    launch: Launch,
    execution_id: str,
    *,
    since: float,
    sent_before: bool = False,
    not_ours: Callable[[], Collection[str]] = nobody,
    retries: RetryPolicy,
    clock: Clock,
    random_number: Callable[[], float],
    log: Log,
    wait_for_quota: bool = True,
    quota_hint: str | None = None,
) -> Procedure[Submission]:
    """Start a run, or find the one that an earlier submit with the same execution id started.

    :param since: earliest time of the first submit, seconds since the epoch.
    :param sent_before: whether an earlier submit may have succeeded; if so, we search for its run first.
    :param not_ours: returns the ids of runs that are known to belong to someone else or to an earlier attempt.
    :param retries: how long to keep trying after an answer was lost.
    :param wait_for_quota: whether to wait here when a quota is used up, within the retry budget. Once an answer
        was lost, this waits in any case.
    :param quota_hint: what is logged before that wait.
    :raises TrifactaSubmitOutcomeUnknown: it is not known whether the run was started; nothing else was.
    :raises TrifactaTaskKilled: the client was interrupted before anything was started.
    :raises TrifactaApiError: the submit was refused; nothing was started.
    """
    search = _Search(launch, execution_id, since, sent_before, not_ours, clock, random_number)
    try:
        submit = replace(launch.start(execution_id), waits_for_quota=wait_for_quota, quota_hint=quota_hint)
        return (yield from _submit(launch, submit, search, retries, clock, random_number, log))
    except TrifactaTaskKilled as error:
        if search.may_exist:
            raise search.unknown("the task was killed meanwhile") from error
        raise


def find_submitted(
    launch: Launch,
    execution_id: str,
    *,
    since: float,
    sent_before: bool,
    not_ours: Callable[[], Collection[str]],
    clock: Clock,
    random_number: Callable[[], float],
) -> Procedure[FoundRun | None]:
    """Find the run that an interrupted :func:`submit_once` with the same arguments started, within seconds.

    :raises TrifactaSubmitOutcomeUnknown: as for :func:`submit_once`.
    """
    search = _Search(launch, execution_id, since, sent_before, not_ours, clock, random_number)
    return (yield from search.run("the task was killed meanwhile", _PATIENCE_OF_THE_KILLED))


def _submit(
    launch: Launch,
    submit: Operation[JsonObject],
    search: _Search,
    retries: RetryPolicy,
    clock: Clock,
    random_number: Callable[[], float],
    log: Log,
) -> Procedure[Submission]:
    execution_id = search.execution_id
    patience = min(_PATIENCE_FOR_EXISTING, retries.budget)
    began = clock.monotonic()
    sent = 0
    failure: TrifactaApiError
    if search.may_exist:
        run = yield from search.run("an earlier try of the task may have submitted it", _PATIENCE_FOR_LOST)
        if run is not None:
            return _adopt(run, search, log)
    while True:
        sent += 1
        try:
            answer = yield replace(submit, waits_for_quota=True) if search.may_exist else submit
        except TrifactaDuplicateExecution as error:
            search.may_exist = True
            log.warning(
                "%s was submitted before with execution id %s; looking for it", launch.subject, execution_id
            )
            run = yield from search.run(str(error), patience, exists=True)
            if run is not None:
                return _adopt(run, search, log)
            raise search.unknown(
                "the server reports that it was already started, but it is still not listed after "
                f"{patience:.0f} s"
            ) from error
        except TrifactaApiError as error:
            if not may_have_been_carried_out(error):
                if search.may_exist and not is_permanent_refusal(error):
                    raise search.unknown(str(error)) from error
                raise
            failure = error
        else:
            started_run = launch.started(answer)
            if started_run is not None:
                return Submission(started_run.id, execution_id, "started", started_run.parts)
            failure = _without_id(submit, answer)
        search.may_exist = True
        reason = failure.without_hint()
        log.warning(
            "The answer to the start of %s was lost; checking whether it was started. Reason: %s",
            launch.subject,
            reason,
        )
        # A 201 means that it was started, even if the rest of the answer is unusable: start no second run.
        started = failure.status == _CREATED
        run = yield from search.run(str(failure), patience if started else _PATIENCE_FOR_LOST, exists=started)
        if run is not None:
            return _adopt(run, search, log)
        if started:
            raise search.unknown(
                f"the server reports that it was started, but not its id, and it is still not listed after "
                f"{patience:.0f} s ({failure})"
            ) from failure
        wait = retries.wait(
            idempotent=True,
            error=failure,
            attempt=sent,
            elapsed=clock.monotonic() - began,
            jitter=random_number(),
        )
        if wait is None:
            raise search.unknown(str(failure)) from failure
        log.warning("It is not listed; submitting it again with the same execution id in %.1f s", wait)
        yield Pause(wait)


def _adopt(run: FoundRun, search: _Search, log: Log) -> Submission:
    log.warning(
        "Adopted %s, which an earlier submit with execution id %s had started: nothing new was started%s",
        run.id,
        search.execution_id,
        f". It is assumed to be that run, although {run.doubt}" if run.doubt else "",
    )
    return Submission(run.id, search.execution_id, "adopted")


def _without_id(operation: Operation[JsonObject], answer: JsonObject) -> TrifactaApiError:
    return TrifactaAnswerNotUnderstood(
        method=operation.request.method,
        path=operation.request.path,
        status=_CREATED,
        message=f"expected an object with an id, got one with {len(answer)} other members",
    )


def without_doubt(runs: Iterable[FoundRun]) -> list[FoundRun]:
    """Return the runs without a doubt, or all runs if every one has a doubt."""
    runs = list(runs)
    return [run for run in runs if run.doubt is None] or runs


def why_undecided(candidates: Sequence[FoundRun]) -> str:
    """Return why none of the candidates is adopted."""
    if len(candidates) > 1:
        return "Several runs match"
    return f"One run matches, but {candidates[0].doubt or 'it was listed only once'}"


class _Sightings:
    """The runs found by the polls of one search."""

    def __init__(self) -> None:
        self._runs: dict[Id, FoundRun] = {}
        self._looks: dict[Id, int] = {}

    def add(self, found: Collection[FoundRun], not_ours: Collection[str]) -> None:
        """Add the runs found by one poll, and drop those that have turned out not to be ours."""
        for run in found:
            self._runs[run.id] = run
            self._looks[run.id] = self._looks.get(run.id, 0) + 1
        self._runs = {identity: run for identity, run in self._runs.items() if str(identity) not in not_ours}

    @property
    def candidates(self) -> list[FoundRun]:
        """The runs that could be it."""
        return without_doubt(self._runs.values())

    @property
    def only(self) -> FoundRun | None:
        """The only run that could be it, None when there are none or several."""
        candidates = self.candidates
        return candidates[0] if len(candidates) == 1 else None

    def confirmed(self, run: FoundRun) -> bool:
        """Return whether more than one poll has found a run."""
        return self._looks[run.id] > 1


class _Search:
    """Searches for the run that a submit may have started.

    :param sent_before: whether an earlier try may have submitted it.
    """

    def __init__(
        self,
        launch: Launch,
        execution_id: str,
        since: float,
        sent_before: bool,
        not_ours: Callable[[], Collection[str]],
        clock: Clock,
        random_number: Callable[[], float],
    ) -> None:
        self.execution_id = execution_id
        self._launch = launch
        self._since = since
        self._margin = _CLOCK_MARGIN_OF_ANOTHER_MACHINE if sent_before else _CLOCK_MARGIN
        self.may_exist = sent_before
        self._not_ours = not_ours
        self._clock = clock
        self._random = random_number
        self._me: Me | None = None

    def run(self, reason: str, patience: float, *, exists: bool = False) -> Procedure[FoundRun | None]:
        """Return the run if two polls find it and none finds another; None if none appears.

        Two polls are required because a lagging list may show someone else's run before ours. A run that one poll
        finds and the next does not is kept: several machines may serve the same list.

        :param reason: why we search; quoted in the error.
        :param patience: seconds to go on searching.
        :param exists: whether the server reports that it exists. Then a single candidate is adopted at the end of
            the search even if it has a doubt.
        :raises TrifactaSubmitOutcomeUnknown: several runs could be it, the only one has a doubt, or the lists
            cannot be read.
        """
        until = self._clock.monotonic() + patience
        pause = _FIRST_PAUSE
        shown = _Sightings()
        while True:
            try:
                found = yield from self._look(shown)
            except TrifactaApiError as error:
                raise self.unknown(f"{sentence(reason)} Searching for it failed: {error}") from error
            run = shown.only
            confirmed = run is not None and shown.confirmed(run)
            if confirmed and run is not None and run.doubt is None:
                return run
            to_be_confirmed = run in found and not confirmed
            if self._clock.monotonic() >= until and not to_be_confirmed:
                if confirmed and exists:
                    return run
                if shown.candidates:
                    raise self.unknown(f"{sentence(reason)} {why_undecided(shown.candidates)}", shown.candidates)
                return None
            yield Pause(pause * (0.9 + 0.2 * self._random()))
            pause = min(pause * _GROWTH, _LONGEST_PAUSE)

    def _look(self, shown: _Sightings) -> Procedure[list[FoundRun]]:
        """Poll once, and return the runs that this poll found."""
        if self._me is None:
            self._me = yield from who_am_i(self._clock)
        found = yield from self._launch.find(self._me.earliest(self._since - self._margin), self._me.id)
        shown.add(found, set(self._not_ours()))
        return found

    def unknown(self, reason: str, candidates: Collection[FoundRun] = ()) -> TrifactaSubmitOutcomeUnknown:
        """Return the error that reports what is known."""
        return TrifactaSubmitOutcomeUnknown(
            what=self._launch.subject,
            execution_id=self.execution_id,
            since=datetime.fromtimestamp(self._since, UTC),
            reason=reason,
            candidates=tuple(run.id for run in candidates),
        )


def find_runs(launch: Launch, since: float, clock: Clock) -> Procedure[list[FoundRun]]:
    """Find this user's runs that could match a launch at ``since`` (seconds since the epoch) or later."""
    me = yield from who_am_i(clock)
    return (yield from launch.find(me.earliest(since - _CLOCK_MARGIN_OF_ANOTHER_MACHINE), me.id))
