"""Checks the arguments that users pass in, before anything is sent."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.ids import id_of
from airflow_provider_trifacta.api.messages import Id

# The ids of cloud-native workflows, which have an API of their own (api/README.md, section 1).
_ULID = re.compile(r"[0-7][0-9A-HJKMNP-TV-Z]{25}", re.IGNORECASE)


@dataclass(frozen=True)
class _Kind:
    """What kind of object an id refers to.

    :param in_url: finds the id in the URL of the object's page in the application.
    :param form: the form of an id that need not be a number.
    """

    word: str
    where: str
    in_url: re.Pattern[str]
    form: re.Pattern[str] | None = None


_RECIPE = _Kind(
    "recipe",
    "give the number after 'recipe=' in the URL of its flow, or that URL",
    re.compile(r"[?&]recipe=([^&#]*)"),
)
_KINDS = {
    "wrangled_dataset_id": _RECIPE,
    "recipe_id": _RECIPE,
    "wrangled_dataset_ids": _Kind(
        "recipe",
        "give the numbers after 'recipe=' in the URLs of the flow, or those URLs",
        re.compile(r"[?&]recipe=([^&#]*)"),
    ),
    "flow_id": _Kind(
        "flow",
        "give the number after '/flows/' in the URL of its page, or that URL",
        re.compile(r"/flows/([^/?#]*)"),
    ),
    "flow_run_id": _Kind(
        "flow run", "give the output of the task that started it", re.compile(r"/flowRuns/([^/?#]*)")
    ),
    "plan_id": _Kind(
        "plan",
        "give the number after '/plans/' in the URL of its page, or that URL",
        re.compile(r"/plans/([^/?#]*)"),
    ),
    "plan_snapshot_run_id": _Kind(
        "plan run",
        "give the output of the task that started it",
        re.compile(r"/runs/([^/?#]*)"),
        re.compile(r"[0-9A-Za-z_-]{1,100}"),
    ),
    "job_group_id": _Kind(
        "job group",
        "give the number after '/jobs/' in the URL of its page, or that URL",
        re.compile(r"/jobs/([^/?#]*)"),
    ),
}
#: Ten years, which sleeps and timers can still represent.
_LONGEST = 10 * 365 * 86400.0


def check_id(name: str, value: Any) -> Id:
    """Return an id unchanged, or the id in a URL that was copied from the application.

    :param name: the argument's name, for the error: ``wrangled_dataset_id``, ``job_group_id``, ``flow_id``, ...
    :raises TrifactaConfigurationError: empty, not a scalar, or not an id of this API.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TrifactaConfigurationError(
            f"{name}: expected an id (an integer or a string), got {type(value).__name__} {value!r}"
        )
    text = _text_of(name, value)
    if not text:
        raise TrifactaConfigurationError(f"{name}: is empty")
    if text in ("None", "null"):
        raise TrifactaConfigurationError(
            f"{name}: is {text!r}, which is what a template renders for a missing value. "
            "Check the task or variable that it reads"
        )
    kind = _KINDS[name]
    if _ULID.fullmatch(text):
        raise TrifactaConfigurationError(
            f"{name}: {text!r} is a ULID, the id of a cloud-native workflow. Those have another API; "
            f"use a {kind.word} id: {kind.where}"
        )
    in_url = set(kind.in_url.findall(text)) if "/" in text else set()
    found = in_url.pop() if len(in_url) == 1 else text
    if id_of(found) is None and not (kind.form and kind.form.fullmatch(found)):
        raise TrifactaConfigurationError(f"{name}: {text!r} is not a {kind.word} id: {kind.where}")
    return value if isinstance(value, int) else found


def _text_of(name: str, value: int | str) -> str:
    try:
        return str(value).strip()
    except ValueError:  # Python refuses to convert numbers with thousands of digits
        raise TrifactaConfigurationError(f"{name}: is a number with too many digits") from None


def path_segment(value: Id, name: str = "id") -> str:
    """Return an id as one percent-encoded path segment.

    :raises TrifactaConfigurationError: not an id, or one that would lead to another route.
    """
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise TrifactaConfigurationError(f"{name}: {value!r} is neither an integer nor a string")
    text = _text_of(name, value)
    if isinstance(value, int):
        return text
    # Percent-encoding does not protect dots: HTTP libraries undo it and walk up the path.
    if text in ("", ".", ".."):
        raise TrifactaConfigurationError(f"{name}: {value!r} is not an id")
    try:
        return quote(text, safe="")
    except UnicodeEncodeError:
        raise TrifactaConfigurationError(f"{name}: {value!r} cannot be encoded as UTF-8") from None


def check_seconds(name: str, value: object, *, zero: bool = False, most: float = _LONGEST) -> float:
    """Return ``value`` as seconds.

    :param name: the user's name for the value, for the error.
    :param zero: whether 0 is allowed.
    :param most: the largest number allowed.
    :raises TrifactaConfigurationError: not a finite number, not positive, or too large.
    """
    try:
        if isinstance(value, bool):
            raise ValueError
        seconds = float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError, OverflowError):
        raise TrifactaConfigurationError(f"{name}: {value!r} is not a number of seconds") from None
    if not math.isfinite(seconds) or seconds < 0 or (seconds == 0 and not zero):
        raise TrifactaConfigurationError(
            f"{name}: {value!r} is not a {'non-negative' if zero else 'positive'} number of seconds"
        )
    if seconds > most:
        raise TrifactaConfigurationError(f"{name}: {value!r} is more than {most:.0f} seconds")
    return seconds


def check_retry_budget(value: float | None) -> float | None:
    """Return the argument ``retry_budget`` in seconds; None uses the connection's.

    :raises TrifactaConfigurationError: not a finite number, negative, or too large.
    """
    return None if value is None else check_seconds("retry_budget", value, zero=True)
