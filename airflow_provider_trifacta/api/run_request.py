"""Builds the bodies of the requests that start runs from the user's arguments."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from airflow_provider_trifacta.api.arguments import check_id
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.messages import Id, JsonObject


def run_parameters_body(run_parameters: Any, reference_date: Any) -> JsonObject | None:
    """Return ``runParameters`` for a plain mapping of parameter names to values.

    :param run_parameters: names to scalars. Values are sent as strings, the only form in the API's samples.
    :param reference_date: the value of "now" in date-time parameters.
    :raises TrifactaConfigurationError: not a mapping of names to scalars; not a date.
    """
    body: JsonObject = {}
    if reference_date is not None:
        body["referenceDate"] = _timestamp("reference_date", reference_date)
    if run_parameters is not None:
        if not isinstance(run_parameters, Mapping):
            raise TrifactaConfigurationError(
                "run_parameters: expected a mapping of parameter names to values, "
                f"got {type(run_parameters).__name__}"
            )
        data = [{"key": _key(key), "value": _scalar(key, value)} for key, value in run_parameters.items()]
        if data:
            body["overrides"] = {"data": data}
    return body or None


def parameters_by_name(run_parameters: Any) -> Any:
    """Return ``runParameters`` as names to values; unchanged if they have another form."""
    try:
        named = {item["key"]: item["value"] for item in run_parameters["overrides"]["data"]}
    except (KeyError, TypeError):
        return run_parameters
    return {**named, **{key: value for key, value in run_parameters.items() if key != "overrides"}}


def run_job_group_body(
    wrangled_dataset_id: Any,
    *,
    run_parameters: Any = None,
    overrides: Any = None,
    reference_date: Any = None,
    request_body_extra: Any = None,
) -> JsonObject:
    """Return the body of ``runJobGroup``.

    :param wrangled_dataset_id: the recipe.
    :param run_parameters: parameter names to values.
    :param overrides: settings of the output for this run, passed through unchanged.
    :param reference_date: the value of "now" in date-time parameters; a datetime or an ISO 8601 string.
    :param request_body_extra: additional members of the body, passed through unchanged.
    :raises TrifactaConfigurationError: names the argument that cannot be used.
    """
    body: JsonObject = {"wrangledDataset": {"id": check_id("wrangled_dataset_id", wrangled_dataset_id)}}
    parameters = run_parameters_body(run_parameters, reference_date)
    if parameters is not None:
        body["runParameters"] = parameters
    if overrides is not None:
        body["overrides"] = dict(_mapping("overrides", overrides))
    given = {
        "wrangledDataset": ("wrangled_dataset_id", True),
        "runParameters": ("run_parameters or reference_date", (run_parameters, reference_date) != (None, None)),
        "overrides": ("overrides", overrides is not None),
    }
    return _with_extra(body, request_body_extra, given)


def run_flow_body(
    *,
    wrangled_dataset_ids: Any = None,
    run_parameters: Any = None,
    overrides: Any = None,
    request_body_extra: Any = None,
) -> JsonObject:
    """Return the body of ``runFlow``.

    :param wrangled_dataset_ids: the recipes whose outputs to run; None runs all.
    :param run_parameters: parameter names to values.
    :param overrides: settings of outputs for this run by the **name** of their recipe, passed through unchanged.
    :param request_body_extra: additional members of the body, passed through unchanged.
    :raises TrifactaConfigurationError: names the argument that cannot be used.
    """
    body: JsonObject = {}
    if wrangled_dataset_ids is not None:
        body["wrangledDatasetIds"] = _recipe_ids(wrangled_dataset_ids)
    parameters = run_parameters_body(run_parameters, None)
    if parameters is not None:
        body["runParameters"] = parameters
    if overrides is not None:
        body["overrides"] = {
            _name("overrides", recipe): dict(_mapping(f"overrides[{recipe!r}]", settings))
            for recipe, settings in _mapping("overrides", overrides).items()
        }
    given = {
        "wrangledDatasetIds": ("wrangled_dataset_ids", wrangled_dataset_ids is not None),
        "runParameters": ("run_parameters", run_parameters is not None),
        "overrides": ("overrides", overrides is not None),
    }
    return _with_extra(body, request_body_extra, given)


def run_plan_body(*, run_parameters: Any = None, request_body_extra: Any = None) -> JsonObject:
    """Return the body of ``runPlan``.

    :param run_parameters: parameter names to values, by the handle of the plan node:
        ``{"flow-1": {"region": "emea"}}``.
    :param request_body_extra: additional members of the body, passed through unchanged.
    :raises TrifactaConfigurationError: names the argument that cannot be used.
    """
    body: JsonObject = {}
    nodes = _mapping("run_parameters", {} if run_parameters is None else run_parameters)
    by_handle = {
        _name("run_parameters", handle): _mapping(f"run_parameters[{handle!r}]", parameters)
        for handle, parameters in nodes.items()
    }
    overrides = [
        {"handle": handle, "overrideKey": _key(key), "value": {"variable": {"value": _scalar(key, value)}}}
        for handle, parameters in by_handle.items()
        for key, value in parameters.items()
    ]
    if overrides:
        body["planNodeOverrides"] = overrides
    given = {"planNodeOverrides": ("run_parameters", run_parameters is not None)}
    return _with_extra(body, request_body_extra, given)


def _with_extra(body: JsonObject, extra: Any, given: Mapping[str, tuple[str, bool]]) -> JsonObject:
    """Return a body with additional members.

    :param given: for each member of the body, the argument that sets it and whether it was given.
    """
    for key in _mapping("request_body_extra", {} if extra is None else extra):
        if not isinstance(key, str):
            raise TrifactaConfigurationError(f"request_body_extra: {key!r} is not a string")
        argument, is_given = given.get(key, ("", False))
        if is_given:
            raise TrifactaConfigurationError(
                f"request_body_extra: {key!r} is also set by {argument}; specify it only once"
            )
    return {**body, **(extra or {})}


def _mapping(name: str, value: Any) -> Mapping[Any, Any]:
    if not isinstance(value, Mapping):
        raise TrifactaConfigurationError(f"{name}: expected a mapping, got {type(value).__name__}")
    return value


def _recipe_ids(value: Any) -> list[Id]:
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise TrifactaConfigurationError(
            f"wrangled_dataset_ids: expected a list of recipe ids, got {type(value).__name__}. A template "
            "renders to a list only in a DAG with render_template_as_native_obj=True"
        )
    if not value:
        raise TrifactaConfigurationError(
            "wrangled_dataset_ids: is empty, so there is nothing to run; leave it out to run all outputs"
        )
    return [check_id("wrangled_dataset_ids", item) for item in value]


def _name(argument: str, value: Any) -> str:
    if not isinstance(value, str) or not value.strip():
        raise TrifactaConfigurationError(f"{argument}: {value!r} is not a name")
    return value


def _key(key: Any) -> str:
    if not isinstance(key, str) or not key.strip():
        raise TrifactaConfigurationError(f"run_parameters: {key!r} is not the name of a parameter")
    return key


def _scalar(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        try:
            return str(value)
        except ValueError:  # Python refuses to convert numbers with thousands of digits
            raise TrifactaConfigurationError(
                f"run_parameters: the value of {key!r} is a number with too many digits"
            ) from None
    raise TrifactaConfigurationError(
        f"run_parameters: the value of {key!r} must be a string, a finite number or a boolean, got {value!r}"
    )


def _timestamp(name: str, value: Any) -> str:
    moment = value
    if isinstance(value, str):
        try:
            moment = datetime.fromisoformat(value.strip())
        except ValueError:
            raise TrifactaConfigurationError(
                f"{name}: {value!r} is not an ISO 8601 date, for example 2024-03-01T06:00:00Z"
            ) from None
    if not isinstance(moment, datetime):
        raise TrifactaConfigurationError(
            f"{name}: expected a datetime or an ISO 8601 string, got {type(value).__name__}"
        )
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not 1 < moment.year < 9999:
        raise TrifactaConfigurationError(f"{name}: the year {moment.year} cannot be written in UTC")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
