"""Telling people, once it is known, which job group a task has: a line in the log, and the buttons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider_trifacta.api.descriptions import JobGroupDescription, describe_job_group
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.links import PushedLink, TrifactaFlowLink, TrifactaJobGroupLink, TrifactaRecipeLink
from airflow_provider_trifacta.tasks.outcome import link_of

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
    description = hook.run(describe_job_group(job_group_id, budget=_DESCRIPTION_BUDGET))
    log.info("%s job group %s, %s: %s", verb, job_group_id, description, link_of(hook, job_group_id))
    _push_flow_links(hook, description, context, log)


def push_job_group_link(hook: TrifactaHook, job_group_id: int | str, context: Context, log: Log) -> None:
    """Make the button of the job group visible. Never fails."""
    _push([(TrifactaJobGroupLink(), link_of(hook, job_group_id))], context, log)


def _push_flow_links(hook: TrifactaHook, description: JobGroupDescription, context: Context, log: Log) -> None:
    application = hook.client.settings.application
    flow_id, recipe_id = description.flow_id, description.recipe_id
    if flow_id is not None and recipe_id is not None:
        links: list[tuple[PushedLink, str]] = [
            (TrifactaFlowLink(), application.flow_url(flow_id)),
            (TrifactaRecipeLink(), application.recipe_url(flow_id, recipe_id)),
        ]
        _push(links, context, log)


def _push(links: Sequence[tuple[PushedLink, str]], context: Context, log: Log) -> None:
    try:
        for link, url in links:
            link.push(context, url)
    except Exception as error:
        log.warning("Links into the application could not be stored: %s", error)
