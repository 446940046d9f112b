"""Telling people, once it is known, which job group a task has: a line in the log, and the buttons."""

from __future__ import annotations

from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.links import TrifactaFlowLink, TrifactaJobGroupLink, TrifactaRecipeLink
from airflow_provider_trifacta.tasks.outcome import describe, link_of

if TYPE_CHECKING:
    from airflow.providers.common.compat.sdk import Context

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


def push_job_group_link(hook: TrifactaHook, job_group_id: int | str, context: Context, log: Log) -> None:
    """Make the button of the job group visible. Never fails."""
    with _button(job_group_id, log):
        TrifactaJobGroupLink().push(context, link_of(hook, job_group_id))


def _button(job_group_id: int | str, log: Log) -> AbstractContextManager[None]:
    return decoration(f"A button of job group {job_group_id} could not be stored", log)
