"""Telling people, once it is known, which job group a task has: a line in the log, and the buttons."""

from __future__ import annotations

from contextlib import AbstractContextManager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.timestamps import spoken
from airflow_provider_trifacta.links import TrifactaFlowLink, TrifactaJobGroupLink, TrifactaRecipeLink
from airflow_provider_trifacta.tasks.outcome import describe, link_of

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

#: Seconds to find out what a job group runs, before the wait begins without its names.
_DESCRIPTION_BUDGET = 10.0


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
