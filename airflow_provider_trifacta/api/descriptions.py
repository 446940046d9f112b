"""What a job group is, in the names that people gave."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider_trifacta.api.errors import TrifactaBadRequest
from airflow_provider_trifacta.api.messages import Id, JsonObject
from airflow_provider_trifacta.api.operations import get_job_group
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.timestamps import timestamp_of


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
    :raises TypeError: it is described with something else than names and ids.
    """
    # The first association is documented, the path through it is not; what is unknown is answered with 400.
    for association in ("wrangledDataset.flow", "wrangledDataset"):
        try:
            job_group: JsonObject = yield get_job_group(job_group_id, embed=[association]).within(budget)
        except TrifactaBadRequest:
            continue
        return _description(job_group)
    return JobGroupDescription()


def recipe_of(job_group: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the recipe in a job group, as much of it as there is."""
    recipe = _recipe(job_group)
    return recipe if isinstance(recipe, Mapping) else {}


def _recipe(job_group: Mapping[str, Any]) -> Any:
    # Objects spell it in camel case or not (api/README.md, section 7).
    return job_group.get("wrangledDataset") or job_group.get("wrangleddataset")


def _description(job_group: JsonObject) -> JobGroupDescription:
    recipe = _expect(_recipe(job_group), Mapping) or {}
    flow = _expect(recipe.get("flow"), Mapping) or {}
    created, updated = timestamp_of(job_group.get("createdAt")), timestamp_of(job_group.get("updatedAt"))
    return JobGroupDescription(
        recipe_id=_expect(recipe.get("id"), int, str),
        recipe_name=_expect(recipe.get("name"), str) or None,
        flow_id=_expect(flow.get("id"), int, str),
        flow_name=_expect(flow.get("name"), str) or None,
        seconds=(updated - created).total_seconds() if created and updated else None,
    )


def _named(what: str, identity: Id, name: str | None) -> str:
    return f"{what} {identity}" if name is None else f'{what} "{name}" ({identity})'


def _expect(value: Any, *types: type) -> Any:
    if value is None or isinstance(value, types):
        return value
    raise TypeError(f"expected {' or '.join(kind.__name__ for kind in types)}, got {type(value).__name__}")
