"""What a job group is, in the names that people gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_trifacta.api.errors import TrifactaBadRequest
from airflow_provider_trifacta.api.ids import id_of
from airflow_provider_trifacta.api.job_group_rows import recipe_of
from airflow_provider_trifacta.api.messages import Id, JsonObject
from airflow_provider_trifacta.api.operations import get_job_group
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.api.timestamps import timestamp_of

#: Characters of the name of something.
_LONGEST_NAME = 200


@dataclass(frozen=True)
class JobGroupDescription:
    """What a job group runs, and for how long. What the API does not tell is None.

    :param seconds: from its start to its last change, which is its end when it has ended: the API knows no
        duration.
    """

    recipe_id: Id | None = None
    recipe_name: str | None = None
    flow_id: Id | None = None
    flow_name: str | None = None
    seconds: float | None = None

    def __str__(self) -> str:
        if self.recipe_id is None:
            return "a recipe"
        recipe = _named("recipe", self.recipe_id, self.recipe_name)
        return recipe if self.flow_id is None else f"{recipe} of {_named('flow', self.flow_id, self.flow_name)}"


def describe_job_group(job_group_id: Id, *, budget: float) -> Procedure[JobGroupDescription]:
    """Find out what a job group runs (``getJobGroup``).

    :param budget: seconds to try for.
    :raises TrifactaApiError: it could not be read.
    """
    # The first association is documented, the path through it is not; what is unknown is answered with 400.
    for association in ("wrangledDataset.flow", "wrangledDataset"):
        try:
            job_group: JsonObject = yield get_job_group(job_group_id, embed=[association]).within(budget)
        except TrifactaBadRequest:
            continue
        return _description(job_group)
    return JobGroupDescription()


def _description(job_group: JsonObject) -> JobGroupDescription:
    recipe = recipe_of(job_group)
    flow = _mapping(recipe.get("flow"))
    created, updated = timestamp_of(job_group.get("createdAt")), timestamp_of(job_group.get("updatedAt"))
    return JobGroupDescription(
        recipe_id=id_of(recipe.get("id")),
        recipe_name=_text(recipe.get("name")),
        flow_id=id_of(flow.get("id")),
        flow_name=_text(flow.get("name")),
        seconds=(updated - created).total_seconds() if created and updated else None,
    )


def _named(what: str, identity: Id, name: str | None) -> str:
    return f"{what} {identity}" if name is None else f'{what} "{name}" ({identity})'


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _text(value: Any) -> str | None:
    return line(value, _LONGEST_NAME) or None if isinstance(value, str) else None
