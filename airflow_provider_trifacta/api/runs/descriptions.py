"""Describes a job group by the names that users gave to its recipe and flow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_trifacta.api.errors import TrifactaBadRequest
from airflow_provider_trifacta.api.ids import id_of
from airflow_provider_trifacta.api.messages import Id, JsonObject
from airflow_provider_trifacta.api.operations import get_job_group
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.runs.job_group_rows import recipe_of
from airflow_provider_trifacta.api.runs.kind import RunDescription
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.api.timestamps import timestamp_of

#: Maximum length of a name, in characters.
_LONGEST_NAME = 200


def describe_job_group(job_group_id: Id, *, budget: float) -> Procedure[RunDescription]:
    """Find out which recipe a job group runs, and for how long (``getJobGroup``).

    :param budget: maximum seconds to repeat a call for.
    :raises TrifactaApiError: it could not be read.
    """
    # The first association is documented, but the path through it is not; unknown ones are answered with 400.
    for association in ("wrangledDataset.flow", "wrangledDataset"):
        try:
            job_group: JsonObject = yield get_job_group(job_group_id, embed=[association]).within(budget)
        except TrifactaBadRequest:
            continue
        return _description(job_group)
    return RunDescription()


def _description(job_group: JsonObject) -> RunDescription:
    recipe = recipe_of(job_group)
    flow = _mapping(recipe.get("flow"))
    recipe_id, flow_id = id_of(recipe.get("id")), id_of(flow.get("id"))
    subject = None
    if recipe_id is not None:
        subject = named("recipe", recipe_id, recipe.get("name"))
        if flow_id is not None:
            subject += f" of {named('flow', flow_id, flow.get('name'))}"
    created, updated = timestamp_of(job_group.get("createdAt")), timestamp_of(job_group.get("updatedAt"))
    return RunDescription(
        subject=subject,
        seconds=(updated - created).total_seconds() if created and updated else None,
        recipe_id=recipe_id,
        flow_id=flow_id,
    )


def named(what: str, identity: Id, name: Any) -> str:
    """Return the name of an object, for users: ``recipe "Orders" (4711)``.

    :param name: its name as received, None when unknown.
    """
    name = _text(name)
    return f"{what} {identity}" if name is None else f'{what} "{name}" ({identity})'


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return line(value, _LONGEST_NAME) or None if isinstance(value, str) else None
