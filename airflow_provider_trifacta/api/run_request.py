"""The body of ``runJobGroup``, from what a person says to what goes over the wire."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from airflow_provider_trifacta.api.arguments import check_id
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.messages import JsonObject


def run_parameters_body(run_parameters: Any, reference_date: Any) -> JsonObject | None:
    """Return ``runParameters`` for a plain mapping of parameter names to values.

    :param run_parameters: names to scalars. Values go out as text, the only form in the API's samples.
    :param reference_date: what "now" means in date-time parameters.
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
    :param overrides: settings of the output for this run, passed through as they are.
    :param reference_date: what "now" means in date-time parameters; a datetime or an ISO 8601 text.
    :param request_body_extra: further members of the body, passed through as they are.
    :raises TrifactaConfigurationError: names the argument that cannot be used.
    """
    body: JsonObject = {"wrangledDataset": {"id": check_id("wrangled_dataset_id", wrangled_dataset_id)}}
    parameters = run_parameters_body(run_parameters, reference_date)
    if parameters is not None:
        body["runParameters"] = parameters
    if overrides is not None:
        if not isinstance(overrides, Mapping):
            raise TrifactaConfigurationError(f"overrides: expected a mapping, got {type(overrides).__name__}")
        body["overrides"] = dict(overrides)
    if request_body_extra is not None:
        if not isinstance(request_body_extra, Mapping):
            raise TrifactaConfigurationError(
                f"request_body_extra: expected a mapping, got {type(request_body_extra).__name__}"
            )
        argument_of = {
            "wrangledDataset": "wrangled_dataset_id",
            "runParameters": "run_parameters or reference_date",
            "overrides": "overrides",
        }
        for key in request_body_extra:
            if not isinstance(key, str):
                raise TrifactaConfigurationError(f"request_body_extra: {key!r} is not a text")
            if key in body:
                raise TrifactaConfigurationError(
                    f"request_body_extra: {key!r} is also said by {argument_of[key]}; say it once"
                )
        body.update(request_body_extra)
    return body


def _key(key: Any) -> str:
    if not isinstance(key, str) or not key.strip():
        raise TrifactaConfigurationError(f"run_parameters: {key!r} is not the name of a parameter")
    return key


def _scalar(key: str, value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (str, int)) or (isinstance(value, float) and math.isfinite(value)):
        return str(value)
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
            f"{name}: expected a datetime or an ISO 8601 text, got {type(value).__name__}"
        )
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    if not 1 < moment.year < 9999:
        raise TrifactaConfigurationError(f"{name}: the year {moment.year} cannot be written in UTC")
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
