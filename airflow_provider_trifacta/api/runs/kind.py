"""The interfaces of runs: kinds and launches.

A *kind* knows the routes; a *launch* knows one request. Waiting, starting exactly once, stopping and reporting are
implemented once, against these two.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol

from airflow_provider_trifacta.api.application import Application
from airflow_provider_trifacta.api.messages import Id, Operation
from airflow_provider_trifacta.api.procedures import Procedure

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.runs.result import RunResult

KindName = Literal["job_group", "flow_run", "plan_snapshot_run"]


@dataclass(frozen=True)
class RunRef:
    """Identifies a run with plain values that fit into notes, triggers and events.

    :param id: its id, as returned by the server.
    :param parts: the job groups named in the answer to its start.
    :param subject_id: id of the recipe, flow or plan that was started; None when unknown.
    """

    id: Id
    parts: tuple[int, ...] = ()
    subject_id: Id | None = None


@dataclass(frozen=True)
class RunDescription:
    """The object and the duration of a run. Values that the API does not report are None.

    :param subject: the object to run, for users: ``recipe "Orders" (4711) of flow "Sales" (301)``.
    :param seconds: from its start to its last change, which is its end if it has ended: the API reports no
        duration.
    """

    subject: str | None = None
    seconds: float | None = None
    recipe_id: Id | None = None
    flow_id: Id | None = None
    plan_id: Id | None = None


@dataclass(frozen=True)
class FoundRun:
    """A run found in a list.

    :param status: its status value, None when the list does not specify it.
    :param doubt: the reason, for users, why it may not be the run we search for; None when there is no doubt.
    """

    id: Id
    status: str | None
    doubt: str | None = None


@dataclass(frozen=True)
class FailedJob:
    """A job of a run that failed or was canceled.

    :param message: the reason, as far as the API reports it.
    :param of: the part of the run it belongs to, for users: ``job group 90211 (recipe "Orders")``.
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
    """Why a run did not succeed, as far as the API reports it.

    :param remarks: sentences about failures other than of jobs, and about parts that succeeded.
    :param permanent: whether an identical run would end in the same way.
    """

    failed_jobs: tuple[FailedJob, ...] = ()
    remarks: tuple[str, ...] = ()
    permanent: bool = False


@dataclass(frozen=True)
class Summary:
    """What a successful run did.

    :param sentence: the short form; empty when there is nothing to report.
    :param title: the title of the details.
    :param details: more lines, if the sentence does not contain everything.
    """

    sentence: str = ""
    title: str = ""
    details: tuple[str, ...] = ()


class RunKind(Protocol):
    """The operations that differ between the kinds of runs."""

    @property
    def name(self) -> KindName:
        """The name of the kind; ``{name}_id`` names its runs in notes, events and XComs."""
        ...

    @property
    def noun(self) -> str:
        """The noun for a run of this kind in logs and errors: ``job group``."""
        ...

    @property
    def start_operation(self) -> str:
        """The operation that starts one, as the method of the hook: ``run_job_group``."""
        ...

    def status(self, run: RunRef, *, budget: float | None = None) -> Procedure[str]:
        """Read the status value of a run: ``Complete`` only if all of it is; an unknown value unchanged.

        :param budget: maximum seconds to repeat a call for; None uses the client's retry budget.
        """
        ...

    def last_change(self, run: RunRef) -> Procedure[float | None]:
        """Read when a run last changed, in seconds since the epoch; None when it is not specified. One call."""
        ...

    def progress(self, run: RunRef) -> Procedure[str]:
        """Read the progress of a run, in words; empty when the API does not report it. One call."""
        ...

    def diagnose(self, run: RunRef) -> Procedure[Diagnosis]:
        """Find out why a run did not succeed."""
        ...

    def started_nothing(self, run: RunRef) -> Procedure[bool]:
        """Find out whether a run failed because it had nothing to run, so that an identical run would fail too."""
        ...

    def cancel(self, run: RunRef, *, budget: float | None = None) -> Procedure[str | None]:
        """Cancel a run. Canceling one that has ended does nothing.

        :param budget: maximum seconds to repeat a call for; None uses the client's retry budget.
        :return: a description of the parts that may go on nevertheless, None when there are none.
        """
        ...

    def cancel_side_by_side(self, run: RunRef, most: int) -> list[Procedure[str | None]]:
        """Return procedures that cancel a run like :meth:`cancel`, and that can run concurrently.

        :param most: maximum number of procedures for its known parts.
        """
        ...

    def describe(self, run: RunRef, *, budget: float) -> Procedure[RunDescription]:
        """Find out which object a run runs, and for how long.

        :param budget: maximum seconds to repeat a call for.
        """
        ...

    def job_groups(self, run: RunRef, *, budget: float | None = None) -> Procedure[tuple[Id, ...]]:
        """Find out which job groups a run consists of; none if the API does not report them. At most one list.

        :param budget: maximum seconds to repeat a call for; None uses the client's retry budget.
        """
        ...

    def result(self, run: RunRef, *, budget: float | None = None) -> Procedure[RunResult]:
        """Find out what a successful run wrote, as far as one list tells it.

        :mod:`airflow_provider_trifacta.api.runs.result` reads the rest.

        :param budget: maximum seconds to repeat a call for; None uses the client's retry budget.
        """
        ...

    def summary(self, result: RunResult) -> Summary:
        """Return a result in words."""
        ...

    def page(self, application: Application, run: RunRef) -> str:
        """Return the URL of a run's page in the web application."""
        ...


class Launch(Protocol):
    """One run that is requested with an execution id, and can be found again."""

    @property
    def kind(self) -> RunKind:
        """The kind of the run."""
        ...

    @property
    def subject(self) -> str:
        """The object to run, for users: ``recipe 4711``. Part of the key of a series, so it must not change."""
        ...

    @property
    def subject_id(self) -> Id:
        """The id of the object to run."""
        ...

    @property
    def refusal_hints(self) -> RefusalHints:
        """What a user can do when the server refuses to start it."""
        ...

    @property
    def run_parameters(self) -> Any:
        """The run parameters that are sent, by name if they have the documented form; empty if there are none."""
        ...

    @property
    def overrides(self) -> Any:
        """The overrides that are sent; empty if there are none."""
        ...

    def start(self, execution_id: str) -> Operation[Any]:
        """Return the call that starts it."""
        ...

    def started(self, answer: Any) -> RunRef | None:
        """Return the run from the answer to its start, None if the answer names none.

        :raises TrifactaRunRefused: according to the answer, it will not run.
        """
        ...

    def find(self, since: float, person_id: str | None) -> Procedure[list[FoundRun]]:
        """Find the runs that could be it.

        :param since: the earliest time of its start, seconds since the epoch on the server's clock.
        :param person_id: the user who started it, None when unknown.
        """
        ...


@dataclass(frozen=True)
class RefusalHints:
    """What a user can do when the server refuses to start a run.

    :param missing: when it reports that something does not exist.
    :param invalid: when it refuses the request for another reason.
    """

    missing: str
    invalid: str


def ref_of(launch: Launch, run_id: Id, parts: tuple[int, ...] = ()) -> RunRef:
    """Return a run of a launch."""
    return RunRef(run_id, parts, launch.subject_id)


def name_of(kind: RunKind, run: RunRef) -> str:
    """Return the name of a run, for users: ``job group 90210``."""
    return f"{kind.noun} {run.id}"


def title_of(kind: RunKind, run: RunRef) -> str:
    """Return the name of a run at the beginning of a sentence: ``Job group 90210``."""
    # Not capitalize() on the whole: an id may have capital letters.
    return f"{kind.noun.capitalize()} {run.id}"
