"""Turns the end of a run into the end of a task, in the same way for operators and sensors in every mode."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.runs.kind import (
    Diagnosis,
    FailedJob,
    KindName,
    Launch,
    RunDescription,
    RunKind,
    RunRef,
    Summary,
    name_of,
    title_of,
)
from airflow_provider_trifacta.api.runs.reports import DIAGNOSIS_BUDGET
from airflow_provider_trifacta.api.runs.result import RunResult, read_all_outputs, read_some_outputs
from airflow_provider_trifacta.api.statuses import is_canceled, is_success
from airflow_provider_trifacta.api.text import line, sentence
from airflow_provider_trifacta.api.timestamps import spoken
from airflow_provider_trifacta.exceptions import (
    TrifactaAwaitedJobGroupFailed,
    TrifactaAwaitedRunFailed,
    TrifactaJobGroupCanceled,
    TrifactaJobGroupError,
    TrifactaJobGroupFailed,
    TrifactaJobGroupStatusUnknown,
    TrifactaJobGroupTimeout,
    TrifactaRunCanceled,
    TrifactaRunEmpty,
    TrifactaRunError,
    TrifactaRunFailed,
    TrifactaRunStatusUnknown,
    TrifactaRunTimeout,
    TrifactaWaitFailed,
)

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.client import TrifactaClient
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

#: How many lines of a summary are logged, in a collapsible group.
_DETAILS_LISTED = 500
#: The job groups of a flow run whose outputs are read to inform users, and the seconds after which no more are.
_MOST_READ = 50
_OUTPUTS_SECONDS = 10.0
#: How many failed jobs an error names.
_JOBS_NAMED = 20

# api/README.md, section 6: neither overrides nor write settings are validated for runs over the API.
_CHECK_THE_OUTPUT = (
    "The API does not validate output settings before a run: check the output of the recipe, the overrides of "
    "the task, and that the user of the token may write there."
)
_ADVICE_BY_JOB_TYPE = {"filewriter": _CHECK_THE_OUTPUT, "publish": _CHECK_THE_OUTPUT}


#: Where the logs of failed jobs are.
_LOGS_ARE_ON: dict[KindName, str] = {
    "job_group": "The job's log is on the page of the job group.",
    "flow_run": "The job's log is on the page of the job group, under Jobs in the application.",
    "plan_snapshot_run": "The job's log is on the page of the job group, under Jobs in the application.",
}


@dataclass(frozen=True)
class _Errors:
    """The error classes for runs of one kind that do not end well."""

    base: type[TrifactaRunError]
    failed: type[TrifactaRunError]
    canceled: type[TrifactaRunError]
    timeout: type[TrifactaRunError]
    status_unknown: type[TrifactaRunError]
    permanent: type[TrifactaRunError]
    awaited: type[TrifactaRunError]


_RUN_ERRORS = _Errors(
    base=TrifactaRunError,
    failed=TrifactaRunFailed,
    canceled=TrifactaRunCanceled,
    timeout=TrifactaRunTimeout,
    status_unknown=TrifactaRunStatusUnknown,
    permanent=TrifactaRunEmpty,
    awaited=TrifactaAwaitedRunFailed,
)
_ERRORS: dict[KindName, _Errors] = {
    "job_group": _Errors(
        base=TrifactaJobGroupError,
        failed=TrifactaJobGroupFailed,
        canceled=TrifactaJobGroupCanceled,
        timeout=TrifactaJobGroupTimeout,
        status_unknown=TrifactaJobGroupStatusUnknown,
        permanent=TrifactaRunEmpty,
        awaited=TrifactaAwaitedJobGroupFailed,
    ),
    "flow_run": _RUN_ERRORS,
    "plan_snapshot_run": _RUN_ERRORS,
}


def still_running(kind: RunKind, message: str, run: RunRef, status: str) -> TrifactaRunError:
    """Return the error for a run that was canceled but does not end."""
    return _ERRORS[kind.name].base(message, run_id=run.id, status=status)


def not_started_in_time(launch: Launch, limit: object) -> TrifactaRunError:
    """Return the error for a run that could not be started before the deadline, because of the quota.

    :param limit: the ``execution_timeout``.
    """
    subject = launch.subject[0].upper() + launch.subject[1:]
    return _ERRORS[launch.kind.name].timeout(
        f"{subject} was not started within the execution_timeout of {limit}: the quota was used up. Nothing was "
        "submitted, so there is nothing to cancel. Retrying or clearing the task waits again; start fewer runs at "
        "a time, or raise the execution_timeout."
    )


class AwaitedRun:
    """A run that a task waits for, and that something else started.

    :param hook: talks to the server.
    """

    #: How to rerun a run that did not succeed.
    again = "This task only waits for it: rerun whatever started it, then clear this task."
    #: How to go on with a run whose status is unknown.
    go_on = "Clear the task to continue waiting."

    def __init__(self, hook: TrifactaHook, kind: RunKind, ref: RunRef, log: Log) -> None:
        self.hook = hook
        self.kind = kind
        self.ref = ref
        self.log = log
        #: What it ran, its final status and its failed jobs, as far as they have been read.
        self.description = RunDescription()
        self.status: str | None = None
        self.failed_jobs: tuple[FailedJob, ...] = ()
        self._result: RunResult | None = None
        self._is_read = False

    def __str__(self) -> str:
        return name_of(self.kind, self.ref)

    @property
    def title(self) -> str:
        """The run at the beginning of a sentence."""
        return title_of(self.kind, self.ref)

    @property
    def link(self) -> str:
        """Its page in the application; a description of it if the connection cannot be used."""
        link = "its page in the application"
        with decoration(f"The link to {self} could not be determined", self.log):
            link = self.kind.page(self.hook.client.settings.application, self.ref)
        return link

    def describe(self, *, budget: float) -> RunDescription:
        """Return what it runs, an empty description if that cannot be read.

        :param budget: maximum seconds for which the calls are retried.
        """
        description = RunDescription()
        with decoration(f"The description of {self} could not be read", self.log):
            description = self.description = self.hook.run(self.kind.describe(self.ref, budget=budget))
        if self.ref.subject_id is None:
            # Its page may be the page of the subject.
            subject_id = description.recipe_id or description.flow_id or description.plan_id
            self.ref = replace(self.ref, subject_id=subject_id)
        return description

    def whole_result(self) -> RunResult:
        """Return everything that the run wrote, reading only what is not known yet.

        :raises TrifactaApiError: it could not be read.
        """
        if self._result is None:
            self._result = self.hook.run(self.kind.result(self.ref))
        self._result = self.hook.run(read_all_outputs(self._result))
        return self._result

    def known_result(
        self, client: TrifactaClient | None = None, *, seconds: float = _OUTPUTS_SECONDS
    ) -> RunResult:
        """Return what a run wrote, as far as that can be found out, for what only informs users. Never fails.

        After :meth:`conclude`, this costs nothing for a job group. What the job groups of a flow run wrote is read
        now, but only of the first ones, and not for long; the others stay ``unread``. Nothing is read a second
        time. The result of a plan run, of one that did not succeed, and of one that could not be read, is empty.

        :param client: sends the calls; None uses that of the hook.
        :param seconds: after which no more calls are sent.
        """
        if self._result is None:
            return RunResult()
        if not self._is_read:
            self._is_read = True
            clock = self.hook.clock
            until = clock.monotonic() + seconds
            procedure = read_some_outputs(self._result, most=_MOST_READ, is_late=lambda: clock.monotonic() > until)
            with decoration(f"What {self} wrote could not be read", self.log):
                self._result, why = (client or self.hook.client).run(procedure)
                if why is not None:
                    left = f"{len(self._result.unread)} of its {len(self._result.job_groups)} job groups"
                    self.log.warning("What %s of %s wrote is not known: %s", left, self, line(why))
        return self._result

    def conclude(self, status: str) -> None:
        """Return if a final status is a success, after logging a summary.

        :raises TrifactaRunError: it is not; reports which jobs failed, and why.
        """
        self.status = status
        link = self.link
        description = self.describe(budget=DIAGNOSIS_BUDGET)
        if is_success(status):
            self._log_summary(description, link)
            return
        diagnosis = Diagnosis()
        with decoration(f"The reason why {self} did not succeed could not be read", self.log):
            diagnosis = self.hook.run(self.kind.diagnose(self.ref))
        why = self._why(description, diagnosis, canceled=is_canceled(status), link=link)
        self.failed_jobs = diagnosis.failed_jobs
        error = self._failure(canceled=is_canceled(status), permanent=diagnosis.permanent)(
            " ".join(why), run_id=self.ref.id, status=status, link=link, failed_jobs=diagnosis.failed_jobs
        )
        # Logged here and not at the end of the task: a sensor with soft_fail does not end with this error.
        error.log_once(self.log, why)
        raise error

    def status_unknown(self, status: str | None) -> TrifactaRunError:
        """Return the error for a status value that stayed unknown."""
        link = self.link
        return self._unknown(
            f"{self.title} kept the unknown status {status!r} for longer than unknown_status_timeout. It may "
            f"still be running. {self.go_on} See {link}",
            run_id=self.ref.id,
            status=status,
            link=link,
        )

    def wait_failed(self, reason: str) -> TrifactaWaitFailed:
        """Return the error for a wait that could not read the status."""
        return TrifactaWaitFailed(
            f"The status of {self} could not be read, so it may still be running: {sentence(reason)} "
            f"A retry of the task continues to wait for it. See {self.link}"
        )

    def _failure(self, *, canceled: bool, permanent: bool) -> type[TrifactaRunError]:
        return _ERRORS[self.kind.name].awaited

    @property
    def _unknown(self) -> type[TrifactaRunError]:
        return _ERRORS[self.kind.name].awaited

    def _why(self, description: RunDescription, diagnosis: Diagnosis, *, canceled: bool, link: str) -> list[str]:
        """Return the sentences that explain a bad end."""
        jobs = diagnosis.failed_jobs
        if canceled:
            why = [f"{self.title} was canceled, in the application or through the API."]
            jobs = tuple(job for job in jobs if job.message)
        elif jobs or diagnosis.remarks:
            why = [f"{self.title} failed:"]
        else:
            why = [f"{self.title} failed. The API does not report which of its jobs failed, or why."]
        why += [sentence(str(job)) for job in jobs[:_JOBS_NAMED]]
        if len(jobs) > _JOBS_NAMED:
            why.append(f"And {len(jobs) - _JOBS_NAMED} more.")
        why += diagnosis.remarks
        if description.subject is not None:
            duration = f" for {spoken(description.seconds)}" if description.seconds is not None else ""
            why.append(f"It ran {description.subject}{duration}.")
        if diagnosis.permanent:
            return [*why, f"See {link}"]
        if not canceled:
            why += dict.fromkeys(
                _ADVICE_BY_JOB_TYPE.get(job_type, _LOGS_ARE_ON[self.kind.name])
                for job_type in [job.type for job in jobs] or [""]
            )
        return [*why, self.again, f"See {link}"]

    def _log_summary(self, description: RunDescription, link: str) -> None:
        after = f" after {spoken(description.seconds)}" if description.seconds is not None else ""
        summary = Summary()
        with decoration(f"The summary of {self} could not be read", self.log):
            self._result = self.hook.run(self.kind.result(self.ref, budget=DIAGNOSIS_BUDGET))
            summary = self.kind.summary(self._result)
        did = f" {summary.sentence}" if summary.sentence else ""
        self.log.info("%s is Complete%s.%s See %s", self.title, after, did, link)
        if summary.details:
            self.log.info("::group::What %s %s", self, summary.title)
            for detail in summary.details[:_DETAILS_LISTED]:
                self.log.info("%s", detail)
            if len(summary.details) > _DETAILS_LISTED:
                self.log.info("and %d more", len(summary.details) - _DETAILS_LISTED)
            self.log.info("::endgroup::")


class OwnRun(AwaitedRun):
    """A run that the task itself started."""

    again = "Retrying or clearing the task starts a new one."
    go_on = "A retry of the task continues to wait for it."

    def deadline_passed(self, status: str | None, limit: object, canceled: str) -> TrifactaRunError:
        """Return the error for a run that did not end in time.

        :param limit: the ``execution_timeout``.
        :param canceled: what came of canceling it.
        """
        link = self.link
        return _ERRORS[self.kind.name].timeout(
            f"{self.title} did not end within the execution_timeout of {limit}; {sentence(canceled)} "
            f"{self.again} See {link}",
            run_id=self.ref.id,
            status=status,
            link=link,
        )

    def _failure(self, *, canceled: bool, permanent: bool) -> type[TrifactaRunError]:
        errors = _ERRORS[self.kind.name]
        if permanent:
            return errors.permanent
        return errors.canceled if canceled else errors.failed

    @property
    def _unknown(self) -> type[TrifactaRunError]:
        return _ERRORS[self.kind.name].status_unknown
