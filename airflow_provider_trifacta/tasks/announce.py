"""Shows users the run of a task as soon as it is known: a log line, and the buttons."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.airflow_support.compat import redact
from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.runs.kind import KindName, Launch, RunDescription
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.api.timestamps import spoken
from airflow_provider_trifacta.links import (
    PushedLink,
    TrifactaFlowLink,
    TrifactaJobGroupLink,
    TrifactaPlanLink,
    TrifactaRecipeLink,
)

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context
    from airflow_provider_trifacta.api.messages import Id
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook
    from airflow_provider_trifacta.tasks.outcome import AwaitedRun

#: Seconds to read the names of what a run runs; after that, the wait begins without them.
_DESCRIPTION_BUDGET = 10.0
#: How many job groups of a flow run are logged with their pages.
_PARTS_LISTED = 20
#: How many characters of the run parameters, and of the overrides, are logged.
_LONGEST_SETTING = 1000
_SUBJECT_UNKNOWN: dict[KindName, str] = {
    "job_group": "a recipe",
    "flow_run": "a flow",
    "plan_snapshot_run": "a plan",
}
_LINKS: dict[KindName, PushedLink] = {
    "job_group": TrifactaJobGroupLink(),
    "flow_run": TrifactaFlowLink(),
    "plan_snapshot_run": TrifactaPlanLink(),
}


def announce(run: AwaitedRun, context: Context, verb: str) -> None:
    """Log what a run is and make its buttons visible. Never fails, since the run is already under way.

    :param verb: ``Started`` or ``Waiting for``.
    """
    subject_was_known = run.ref.subject_id is not None
    push_run_link(run, context)
    description = run.describe(budget=_DESCRIPTION_BUDGET)
    run.log.info("%s %s, %s: %s", verb, run, description.subject or _SUBJECT_UNKNOWN[run.kind.name], run.link)
    if run.kind.name == "job_group":
        _push_subject_links(run, description, context)
    elif not subject_was_known and run.ref.subject_id is not None:
        push_run_link(run, context)  # only now does it lead to the subject
    _announce_parts(run, context)


def _push_subject_links(run: AwaitedRun, description: RunDescription, context: Context) -> None:
    """Make the buttons of the recipe of a job group and of its flow visible. Never fails."""
    flow_id, recipe_id = description.flow_id, description.recipe_id
    with _button(run):
        application = run.hook.client.settings.application
        if flow_id is not None:
            TrifactaFlowLink().push(context, application.flow_url(flow_id))
        if flow_id is not None and recipe_id is not None:
            TrifactaRecipeLink().push(context, application.recipe_url(flow_id, recipe_id))


def _announce_parts(run: AwaitedRun, context: Context) -> None:
    """Log the pages of the job groups that its start named, and make a button visible. Never fails."""
    parts = run.ref.parts
    if not parts:
        return
    with _button(run):
        application = run.hook.client.settings.application
        for part in parts[:_PARTS_LISTED]:
            run.log.info("Job group %s of it: %s", part, application.job_group_url(part))
        if len(parts) > _PARTS_LISTED:
            run.log.info("and %d more", len(parts) - _PARTS_LISTED)
        page = application.job_group_url(parts[0]) if len(parts) == 1 else application.jobs_url()
        TrifactaJobGroupLink().push(context, page)


def announce_start(launch: Launch, log: Log) -> None:
    """Log the run parameters and overrides that a run is requested with. Never fails.

    The API does not report which parameters a flow has, so a misspelled name can only be noticed here.
    """
    with decoration(f"What {launch.subject} is requested with could not be logged", log):
        if launch.run_parameters:
            log.info(
                "Run parameters of %s: %s. Check the names: the API does not tell which there are",
                launch.subject,
                _shown(launch.run_parameters),
            )
        if launch.overrides:
            log.info("Overrides of %s: %s", launch.subject, _shown(launch.overrides))


def _shown(settings: Any) -> str:
    """Return settings as one line, masked by name and by value, as Airflow masks the rendered fields of a task."""
    return line(json.dumps(redact(settings), ensure_ascii=False), _LONGEST_SETTING)


def announce_deferral(
    run: AwaitedRun, *, poll_interval: float, deadline: float | None, afterwards: str = ""
) -> None:
    """Log that the task now waits in the triggerer, since its log is silent from here on. Never fails.

    :param poll_interval: seconds between two polls.
    :param deadline: when the wait ends, in seconds since the epoch; None waits for as long as it takes.
    :param afterwards: what happens at the deadline.
    """
    every = spoken(poll_interval) if poll_interval >= 1 else f"{poll_interval:g} s"
    until = "without a deadline"
    with decoration(f"The deadline of {run} has no date", run.log):
        if deadline is not None:
            until = f"until {datetime.fromtimestamp(deadline, UTC):%Y-%m-%d %H:%M:%S} UTC{afterwards}"
    run.log.info("Waiting for %s in the triggerer, polling every %s, %s", run, every, until)


def push_run_link(run: AwaitedRun, context: Context) -> None:
    """Make the button of a run visible. Never fails."""
    with _button(run):
        _LINKS[run.kind.name].push(context, run.link)


def push_flow_link(hook: TrifactaHook, flow_id: Id, context: Context, log: Log) -> None:
    """Make the button of a flow visible. Never fails."""
    with decoration(f"The button of flow {flow_id} could not be stored", log):
        TrifactaFlowLink().push(context, hook.client.settings.application.flow_url(flow_id))


def _button(run: AwaitedRun) -> AbstractContextManager[None]:
    return decoration(f"A button of {run} could not be stored", run.log)
