"""Telling people, once it is known, which job group a task has: a line in the log, and the buttons."""

from __future__ import annotations

import json
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.providers.common.compat.sdk import redact

from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.api.timestamps import spoken
from airflow_provider_trifacta.links import TrifactaFlowLink, TrifactaJobGroupLink, TrifactaRecipeLink
from airflow_provider_trifacta.tasks.outcome import describe, link_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

    from airflow_provider_trifacta.api.job_group_launch import JobGroupLaunch
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

#: Seconds to find out what a job group runs, before the wait begins without its names.
_DESCRIPTION_BUDGET = 10.0
#: Characters of the run parameters, and of the overrides, that are logged.
_LONGEST_SETTING = 1000


def announce(hook: TrifactaHook, job_group_id: int | str, context: Context, log: Log, verb: str) -> None:
    """Log what the job group is and make its buttons visible. Never fails: the job runs, whatever becomes of them.

    :param verb: ``Started`` or ``Waiting for``.
    """
    push_job_group_link(hook, job_group_id, context, log)
    description = describe(hook, job_group_id, log, budget=_DESCRIPTION_BUDGET)
    log.info("%s job group %s, %s: %s", verb, job_group_id, description, link_of(hook, job_group_id))
    flow_id, recipe_id = description.flow_id, description.recipe_id
    if flow_id is not None and recipe_id is not None:
        with _button(job_group_id, log):
            application = hook.client.settings.application
            TrifactaFlowLink().push(context, application.flow_url(flow_id))
            TrifactaRecipeLink().push(context, application.recipe_url(flow_id, recipe_id))


def announce_start(launch: JobGroupLaunch, log: Log) -> None:
    """Log the run parameters and overrides that a run is asked for with. Never fails.

    The API lets nobody read which parameters a flow has: a misspelt name can be noticed here only.
    """
    with decoration(f"What {launch.what} is asked for with could not be logged", log):
        if launch.run_parameters:
            log.info(
                "Run parameters of %s: %s. The API does not tell which names its flow has",
                launch.what,
                _shown(_by_name(launch.run_parameters)),
            )
        if launch.overrides:
            log.info("Overrides of %s: %s", launch.what, _shown(launch.overrides))


def _by_name(run_parameters: Any) -> Any:
    """Return run parameters as names to values; as they are when they were said in another form."""
    try:
        data = run_parameters["overrides"]["data"]
        named = {item["key"]: item["value"] for item in data}
    except (KeyError, TypeError):
        return run_parameters
    return {**named, **{key: value for key, value in run_parameters.items() if key != "overrides"}}


def _shown(settings: Any) -> str:
    """Return settings in one line, masked as Airflow masks the rendered fields of a task: by name and by value."""
    return line(json.dumps(redact(settings), ensure_ascii=False), _LONGEST_SETTING)


def announce_deferral(
    job_group_id: int | str, log: Log, *, poll_interval: float, deadline: float | None, afterwards: str = ""
) -> None:
    """Log that the task goes on waiting elsewhere, since its log is silent from here on. Never fails.

    :param poll_interval: seconds between two polls.
    :param deadline: until when, in seconds since the epoch; None is for as long as it takes.
    :param afterwards: what happens at the deadline.
    """
    every = spoken(poll_interval) if poll_interval >= 1 else f"{poll_interval:g} s"
    until = "without a deadline"
    with decoration(f"The deadline of job group {job_group_id} has no date", log):
        if deadline is not None:
            until = f"until {datetime.fromtimestamp(deadline, UTC):%Y-%m-%d %H:%M:%S} UTC{afterwards}"
    log.info("Waiting for job group %s in the triggerer, polling every %s, %s", job_group_id, every, until)


def push_job_group_link(hook: TrifactaHook, job_group_id: int | str, context: Context, log: Log) -> None:
    """Make the button of the job group visible. Never fails."""
    with _button(job_group_id, log):
        TrifactaJobGroupLink().push(context, link_of(hook, job_group_id))


def _button(job_group_id: int | str, log: Log) -> AbstractContextManager[None]:
    return decoration(f"A button of job group {job_group_id} could not be stored", log)
