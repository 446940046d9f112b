"""The objects in the API's answers: plain dicts, as received.

Only required keys can be relied on. All others depend on the release, the edition and the requested embedding.
Undocumented members have no key here, but are kept in the dict. Answers are checked against these types when they
are read (:mod:`airflow_provider_trifacta.api.shapes`): a member of another type than declared here is left out,
and a row without a required member is skipped.
"""

from __future__ import annotations

from typing import Any, Literal, Required, TypedDict

from airflow_provider_trifacta.api.ids import ObjectId
from airflow_provider_trifacta.api.messages import Id

#: What starts job groups, and for what purpose.
RanFrom = Literal["ui", "schedule", "api"]
RanFor = Literal["recipe", "sampling", "pendingDatasource", "plan", "extract", "profile", "publish", "refresh"]


class Reference(TypedDict, total=False):
    """Another object: only its id, unless it was embedded."""

    id: Required[Id]


class Job(TypedDict, total=False):
    """A job of a job group (``getJobsForJobGroup``)."""

    id: Required[ObjectId]
    #: A value of :class:`~airflow_provider_trifacta.api.statuses.RunStatus`, or an unknown one.
    status: Required[str]
    jobType: str
    percentComplete: float | None
    errorMessage: dict[str, Any] | str | None
    executionLanguage: str | None
    cpJobId: str | None
    jobGroup: Reference
    lastHeartbeatAt: str | None
    createdAt: str
    updatedAt: str


class JobList(TypedDict, total=False):
    """The jobs of a job group, embedded."""

    data: Required[list[Job]]


class JobGroup(TypedDict, total=False):
    """A run of a recipe (``getJobGroup``, ``listJobLibrary``)."""

    id: Required[ObjectId]
    name: str | None
    description: str | None
    status: str
    ranfrom: str | None
    ranfor: str
    profilingEnabled: bool
    runParameterReferenceDate: str | None
    createdAt: str
    updatedAt: str
    creator: Reference
    updater: Reference
    workspace: Reference
    wrangledDataset: dict[str, Any]
    flowrun: Reference | None
    jobs: JobList


class StartedJobGroup(TypedDict, total=False):
    """The answer to ``runJobGroup``; without ``id`` for a mere test (``testMode``)."""

    id: ObjectId
    reason: str
    sessionId: str
    jobs: dict[str, Any]
    jobGraph: dict[str, Any]


class CanceledJobGroup(TypedDict, total=False):
    """The answer to ``cancelJobGroup``."""

    jobgroupId: ObjectId
    jobIds: list[ObjectId]


class StartedFlowRun(TypedDict, total=False):
    """The answer to ``runFlow``: a job group for each output; some may appear only later."""

    flowRunId: ObjectId
    data: list[StartedJobGroup]


class FlowRun(TypedDict, total=False):
    """A run of a flow (``getFlowRun``). It has no status: see ``getFlowRunStatus``."""

    id: Required[ObjectId]
    flow: Reference
    requestId: str | None
    scheduleExecutionId: int | None
    createdAt: str
    updatedAt: str


class Flow(TypedDict, total=False):
    """A flow (``getFlow``, ``listFlows``, ``copyFlow``)."""

    id: Required[Id]
    name: str
    description: str | None
    createdAt: str
    updatedAt: str
    creator: Reference
    workspace: Reference


class StartedPlanRun(TypedDict, total=False):
    """The answer to ``runPlan``. Nothing runs unless ``validationStatus`` is ``Valid``."""

    validationStatus: str | None
    planSnapshotRunId: Id | None


class PlanSnapshotRun(TypedDict, total=False):
    """A run of a plan (``getPlanSnapshotRun``, ``listPlanSnapshotRuns``)."""

    id: Required[Id]
    status: str
    submittedAt: str | None
    startedAt: str | None
    finishedAt: str | None
    failedToCancelSomeJobs: bool
    plan: Reference
    createdAt: str
    updatedAt: str


class Plan(TypedDict, total=False):
    """A plan (``listPlans``, ``readFull``)."""

    id: Required[Id]
    name: str
    description: str | None
    planNodes: dict[str, Any]
    latestPlanSnapshotRun: PlanSnapshotRun | None


class OutputFile(TypedDict, total=False):
    """A file that a job group wrote."""

    uri: Required[str]
    fileType: str
    isPrimaryOutput: bool


class Table(TypedDict, total=False):
    """A table that a job group read or wrote. If it has a ``query``, ``relationalPath`` is empty."""

    vendor: str
    databaseConnectString: str
    #: Strings. Any others are kept, since a path without one of its parts is that of another table.
    relationalPath: list[Any]
    table: str | None
    action: str | None
    query: list[str] | None


class JobGroupOutputs(TypedDict):
    """The outputs of a job group (``getJobGroupOutputs``)."""

    files: list[OutputFile]
    tables: list[Table]


class Count(TypedDict):
    """The number of objects (``countJobLibrary``)."""

    count: int


class JobGroupInput(TypedDict):
    """A dataset that a job group read (``getJobGroupInputs``)."""

    name: str
    inputs: list[dict[str, Any]]


class Publication(TypedDict, total=False):
    """A table that an output is published to (``getPublicationsForJobGroup``)."""

    id: Required[Id]
    path: list[str]
    tableName: str
    targetType: str
    action: str


class ApiAccessToken(TypedDict, total=False):
    """A token without its value (``listApiAccessTokens``)."""

    tokenId: Required[str]
    description: str | None
    expiredAt: str | None
    lastUsed: str | None
    createdAt: str


class CreatedApiAccessToken(TypedDict):
    """A new token; only this answer contains its value (``createApiAccessToken``)."""

    tokenValue: str
    tokenInfo: ApiAccessToken


class Person(TypedDict, total=False):
    """A user (``getCurrentPerson``)."""

    id: Required[Id]
    email: str
    name: str | None
    state: str
    isDisabled: bool
