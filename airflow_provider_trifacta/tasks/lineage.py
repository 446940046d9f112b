"""Reports to OpenLineage what a run read and wrote.

OpenLineage calls this after the task has ended, in a process that it forks off or in a thread, which it ends after
ten seconds. A fork shares the connection of the task to Airflow, so nothing here may ask Airflow for anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import attr
from airflow.providers.openlineage.extractors import OperatorLineage
from openlineage.client.event_v2 import Dataset
from openlineage.client.facet_v2 import RunFacet, sql_job

from airflow_provider_trifacta import __version__
from airflow_provider_trifacta.api.answers import OutputFile, Table
from airflow_provider_trifacta.api.datasets import (
    SourceQuery,
    TableLocation,
    files_and_tables,
    locate_file,
    locate_table,
    query_of,
)
from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.messages import Id
from airflow_provider_trifacta.api.runs.result import RunInputs, RunResult, read_some_inputs
from airflow_provider_trifacta.api.text import clean, line
from airflow_provider_trifacta.tasks.lineage_names import DatasetName, name_of_file, name_of_table
from airflow_provider_trifacta.tasks.outcome import AwaitedRun
from airflow_provider_trifacta.tasks.sql_tables import tables_in

#: Seconds after which no more calls are sent, and the connect and read timeouts of each.
_SECONDS = 3.0
_TIMEOUT = 3.0
#: Maximum number of job groups of a run whose inputs are read.
_MOST_READ = 50
#: Maximum number of inputs, and of outputs, of an event.
_MOST_DATASETS = 200
#: Maximum number of inputs, and of outputs, that are looked at: naming them takes time.
_MOST_NAMED = 2000
#: Maximum number of queries that are parsed.
_MOST_QUERIES = 20
#: Maximum number of job groups, and of failed jobs, in the facet.
_MOST_LISTED = 20
#: Maximum length of the queries in an event, in characters.
_LONGEST_SQL = 20_000


@attr.define
class TrifactaRunFacet(RunFacet):
    """The run facet ``trifacta_run``. Values that are not known are None."""

    kind: str
    id: str
    status: str | None
    link: str | None
    subject: str | None
    recipeId: str | None  # noqa: N815
    flowId: str | None  # noqa: N815
    planId: str | None  # noqa: N815
    jobGroupIds: list[str]  # noqa: N815
    jobGroups: int  # noqa: N815
    failedJobs: list[dict[str, str | None]]  # noqa: N815
    inputs: dict[str, int]
    outputs: dict[str, int]
    providerVersion: str  # noqa: N815


class _Datasets:
    """The inputs or outputs of a run: those that have a name, and how many have none."""

    def __init__(self) -> None:
        self.names: dict[DatasetName, None] = {}
        self.seen = 0
        self.unnamed = 0
        self.queries: list[SourceQuery] = []

    def add(self, item: OutputFile | Table | None) -> None:
        """Add a file, a table or a query of an answer; None is one that cannot be read."""
        self.seen += 1
        if self.seen > _MOST_NAMED:
            return
        if item is None:
            self.unnamed += 1
        elif "uri" in item:
            self._add_file(cast("OutputFile", item))
        elif (query := query_of(item)) is not None:
            self.queries.append(query)
        else:
            self._add_table(locate_table(item))

    def _add_file(self, file: OutputFile) -> None:
        location = locate_file(file)
        self._add_name(None if location is None else name_of_file(location))

    def _add_table(self, location: TableLocation | None) -> None:
        self._add_name(None if location is None else name_of_table(location))

    def add_tables_of_queries(self) -> None:
        """Add the tables that the first queries read.

        :raises ParserFailed: they are not known.
        """
        queries = self.queries[:_MOST_QUERIES]
        found = tables_in([(query.server.vendor, query.statements) for query in queries])
        for query, tables in zip(queries, found, strict=True):
            for parts in tables:
                self._add_table(query.table(parts))

    def _add_name(self, name: DatasetName | None) -> None:
        if name is None:
            self.unnamed += 1
        else:
            self.names[name] = None

    @property
    def datasets(self) -> list[Dataset]:
        return [Dataset(namespace, name) for namespace, name in [*self.names][:_MOST_DATASETS]]

    def counts(self, unread: Sequence[Id]) -> dict[str, int]:
        """Return how many are in the event, and how many are not, for each reason."""
        sent = min(len(self.names), _MOST_DATASETS)
        return {
            "sent": sent,
            "leftOut": len(self.names) - sent + max(0, self.seen - _MOST_NAMED),
            "withoutName": self.unnamed,
            "jobGroupsNotRead": len(unread),
        }


def lineage_of(run: AwaitedRun) -> OperatorLineage[Any, Any]:
    """Return what a run read and wrote, and which run it was. What cannot be read is left out, and logged."""
    job_groups, result, read = _read(run)
    inputs, outputs = _Datasets(), _Datasets()
    for item in files_and_tables(read.datasets):
        inputs.add(item)
    for file in result.files:
        outputs.add(file)
    for table in result.tables:
        outputs.add(table)
    if inputs.queries:
        with decoration(f"The tables in the queries that {run} read could not be found", run.log):
            inputs.add_tables_of_queries()
    facet = _facet(run, job_groups, inputs.counts(read.unread), outputs.counts(result.unread))
    return OperatorLineage(
        inputs=inputs.datasets,
        outputs=outputs.datasets,
        run_facets={"trifacta_run": facet},
        job_facets=_sql_facet(inputs.queries),
    )


def _read(run: AwaitedRun) -> tuple[tuple[Id, ...], RunResult, RunInputs]:
    """Return the job groups of a run, what it wrote, and what it read."""
    job_groups: tuple[Id, ...] = ()
    result, inputs = RunResult(), RunInputs()
    if not run.hook.is_connected:
        return job_groups, result, inputs
    clock = run.hook.clock
    until = clock.monotonic() + _SECONDS
    # With connections of its own: those of the task may be in use in the process that was forked.
    with run.hook.client.detached(budget=0, timeout=_TIMEOUT) as client:
        result = run.known_result(client, seconds=_SECONDS / 2)
        with decoration(f"What {run} read could not be found out", run.log):
            job_groups = result.job_groups or client.run(run.kind.job_groups(run.ref, budget=0))
            inputs, why = client.run(
                read_some_inputs(job_groups, most=_MOST_READ, is_late=lambda: clock.monotonic() > until)
            )
            if why is not None:
                run.log.warning("What %s read is not known, or not all of it: %s", run, line(why))
    return job_groups, result, inputs


def _sql_facet(queries: Sequence[SourceQuery]) -> dict[str, Any]:
    """Return the facet ``sql`` with the queries that were read, as far as they are not too long."""
    statements = [clean(statement).rstrip(";") for query in queries for statement in query.statements]
    text = ";\n".join(dict.fromkeys(statements))
    return {"sql": sql_job.SQLJobFacet(query=text)} if text and len(text) <= _LONGEST_SQL else {}


def _facet(
    run: AwaitedRun, job_groups: tuple[Id, ...], inputs: dict[str, int], outputs: dict[str, int]
) -> TrifactaRunFacet:
    about = run.description
    return TrifactaRunFacet(
        kind=run.kind.name,
        id=str(run.ref.id),
        status=run.status,
        link=run.link if run.hook.is_connected else None,
        subject=about.subject,
        recipeId=_text(about.recipe_id),
        flowId=_text(about.flow_id),
        planId=_text(about.plan_id),
        jobGroups=len(job_groups),
        jobGroupIds=[str(one) for one in job_groups[:_MOST_LISTED]],
        failedJobs=[
            {"id": job.id, "type": job.type, "status": job.status, "message": job.message, "of": job.of}
            for job in run.failed_jobs[:_MOST_LISTED]
        ],
        inputs=inputs,
        outputs=outputs,
        providerVersion=__version__,
    )


def _text(value: Id | None) -> str | None:
    return None if value is None else str(value)
