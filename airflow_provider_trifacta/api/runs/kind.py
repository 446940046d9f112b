"""What all runs have in common, and what each kind of run knows.

A *kind* knows routes; a *launch* knows one request. Waiting, starting exactly once, stopping and reporting are
written once, against these two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from airflow_provider_trifacta.api.answers import JobGroupOutputs
from airflow_provider_trifacta.api.application import Application
from airflow_provider_trifacta.api.messages import Id, Operation
from airflow_provider_trifacta.api.procedures import Procedure

KindName = Literal["job_group", "flow_run", "plan_snapshot_run"]


@dataclass(frozen=True)
class RunRef:
    """Which run: plain values, so that it fits into notes, triggers and events.

    :param id: its id, as the server gave it.
    :param parts: the job groups that the answer to its start named.
    :param subject_id: what was started: the recipe, the flow or the plan; None when unknown.
    """

    id: Id
    parts: tuple[int, ...] = ()
    subject_id: Id | None = None


@dataclass(frozen=True)
class RunDescription:
    """What a run runs, and for how long. What the API does not tell is None.

    :param subject: what is run, for a user: ``recipe "Orders" (4711) of flow "Sales" (301)``.
    :param seconds: from its start to its last change, which is its end when it has ended: the API knows no
        duration.
    """

    subject: str | None = None
    seconds: float | None = None
    recipe_id: Id | None = None
    flow_id: Id | None = None
    plan_id: Id | None = None


@dataclass(frozen=True)
class FoundRun:
    """A run that a list shows.

    :param status: its status value, None when the list does not specify it.
    :param doubt: why it may not be the one that is searched for, for a user; None when nothing speaks against it.
    """

    id: Id
    status: str | None
    doubt: str | None = None


@dataclass(frozen=True)
class FailedJob:
    """A job of a run that failed or was canceled.

    :param message: why, as far as the API specifies.
    :param of: the part of the run it belongs to, for a user: ``job group 90211 (recipe "Orders")``.
    """

    id: str
    type: str
    status: str
    message: str | None = None
    of: str | None = None

    def __str__(self) -> str:
        of = f"{self.of}: " if self.of else ""
        return f"{of}{self.type} job {self.id} {self.status}: {self.message or 'the API gives no reason'}"


@dataclass(frozen=True)
class Diagnosis:
    """Why a run did not succeed, as far as the API tells.

    :param remarks: sentences about what failed beside jobs, and about what did not fail.
    :param permanent: whether another run like it would end in the same way.
    """

    failed_jobs: tuple[FailedJob, ...] = ()
    remarks: tuple[str, ...] = ()
    permanent: bool = False


@dataclass(frozen=True)
class Summary:
    """What a successful run did.

    :param sentence: in short; empty when there is nothing to say.
    :param details: line by line, where the sentence is not all; with a title.
    """

    sentence: str = ""
    title: str = ""
    details: tuple[str, ...] = ()


class RunKind(Protocol):
    """What differs between the kinds of runs."""

    @property
    def name(self) -> KindName:
        """The name of the kind; ``{name}_id`` names its runs in notes, events and XComs."""
        ...

    @property
    def noun(self) -> str:
        """What a run of this kind is called in logs and errors: ``job group``."""
        ...

    def status(self, run: RunRef, *, budget: float | None = None) -> Procedure[str]:
        """Read the status value of a run: ``Complete`` only when all of it is; an unknown value as it came.

        :param budget: seconds to repeat a call for at most; None takes the client's retry budget.
        """
        ...

    def last_change(self, run: RunRef) -> Procedure[float | None]:
        """Read when a run changed last, in seconds since the epoch; None when it is not specified. One call."""
        ...

    def progress(self, run: RunRef) -> Procedure[str]:
        """Read how far a run is, in words; empty when the API does not tell. One call."""
        ...

    def diagnose(self, run: RunRef) -> Procedure[Diagnosis]:
        """Find out why a run did not succeed."""
        ...

    def started_nothing(self, run: RunRef) -> Procedure[bool]:
        """Find out whether a run that did not end well had nothing to run, as another one like it would."""
        ...

    def cancel(self, run: RunRef, *, budget: float | None = None) -> Procedure[str | None]:
        """Cancel a run. Canceling one that has ended does nothing.

        :param budget: seconds to repeat a call for at most; None takes the client's retry budget.
        :return: what may go on all the same, None when nothing does.
        """
        ...

    def cancel_side_by_side(self, run: RunRef, most: int) -> list[Procedure[str | None]]:
        """Return what cancels a run like :meth:`cancel`, in steps that can be taken at the same time.

        :param most: how many steps its known parts are divided into at most.
        """
        ...

    def describe(self, run: RunRef, *, budget: float) -> Procedure[RunDescription]:
        """Find out what a run runs.

        :param budget: seconds to repeat a call for at most.
        """
        ...

    def summarize(self, run: RunRef, *, budget: float) -> Procedure[Summary]:
        """Find out what a successful run did.

        :param budget: seconds to repeat a call for at most.
        """
        ...

    def outputs(self, run: RunRef) -> Procedure[JobGroupOutputs]:
        """Read which files and tables a run wrote."""
        ...

    def page(self, application: Application, run: RunRef) -> str:
        """Return the page of a run in the web application."""
        ...


class Launch(Protocol):
    """One run that is requested with an execution id, and can be found again."""

    @property
    def kind(self) -> RunKind:
        """The kind of the run."""
        ...

    @property
    def subject(self) -> str:
        """What is run, for a user: ``recipe 4711``. Part of the key of a series, so it must not change."""
        ...

    @property
    def refusal_hints(self) -> RefusalHints:
        """What a user can do when the server refuses to start it."""
        ...

    @property
    def run_parameters(self) -> Any:
        """The run parameters that go out, by name where they are written as documented; nothing without any."""
        ...

    @property
    def overrides(self) -> Any:
        """The overrides that go out; nothing without any."""
        ...

    def start(self, execution_id: str) -> Operation[Any]:
        """Return the call that starts it."""
        ...

    def started(self, answer: Any) -> RunRef | None:
        """Return the run from the answer to its start, None when the answer names none.

        :raises TrifactaRunRefused: the answer says that it will not run.
        """
        ...

    def ref(self, run_id: Id) -> RunRef:
        """Return a run of this launch that an earlier submit started."""
        ...

    def find(self, since: float, person_id: str | None) -> Procedure[list[FoundRun]]:
        """Find the runs that could be it.

        :param since: when it was started at the earliest, seconds since the epoch on the server's clock.
        :param person_id: the user who started it, None when unknown.
        """
        ...


@dataclass(frozen=True)
class RefusalHints:
    """What a user can do when the server refuses to start a run.

    :param missing: where it says that something does not exist.
    :param invalid: where it refuses the request otherwise.
    """

    missing: str
    invalid: str
