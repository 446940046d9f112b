"""Reports a misspelled argument, with the name that is meant, when the DAG file is parsed."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from typing import Any

_RECIPE, _JOB_GROUP = "wrangled_dataset_id", "job_group_id"
#: Other names that users give to arguments. The first candidate that the operator has is suggested.
_OTHER_WORDS = {
    **dict.fromkeys(("recipe_id", "recipe", "dataset_id", "flow_id"), (_RECIPE,)),
    **dict.fromkeys(("job_id", "job", "job_group"), (_JOB_GROUP, _RECIPE)),
}
#: Arguments that Airflow has from a version on.
_SINCE = {"retry_policy": "3.3"}


class SuggestsArgumentNames:
    """Mixin for operators and sensors, before Airflow's base class."""

    def __init__(self, **kwargs: Any) -> None:
        # A subclass's own arguments never arrive here.
        _check_names(type(self), kwargs)
        super().__init__(**kwargs)

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Return the operator with these arguments, to be mapped over other arguments (see Airflow's ``partial``).

        :raises TypeError: an argument is misspelled; gives the name that is meant.
        """
        _check_names(cls, kwargs)
        return super().partial(**kwargs)  # type: ignore[misc]


def _check_names(operator: type, given: Iterable[str]) -> None:
    """Refuse arguments that look misspelled. Airflow refuses the other unknown ones.

    :raises TypeError: names the argument that is meant, or the Airflow that has it.
    """
    known = _argument_names(operator)
    for name in given:
        if name in _SINCE and name not in known:
            raise TypeError(
                f"{operator.__name__} has no argument {name!r}: it needs Airflow {_SINCE[name]} or later"
            )
        meant = [] if name in known or name.startswith("_") else _meant(name, known)
        if meant:
            raise TypeError(f"{operator.__name__} has no argument {name!r}: did you mean {meant[0]!r}?")


def _meant(name: str, known: frozenset[str]) -> list[str]:
    """Return the argument that a name may stand for: a synonym, or the nearest spelling."""
    synonyms = [argument for argument in _OTHER_WORDS.get(name, ()) if argument in known]
    return synonyms or get_close_matches(name, known, n=1)


@functools.cache  # DAG files create thousands of tasks
def _argument_names(operator: type) -> frozenset[str]:
    """Return all arguments that an operator and its base classes declare."""
    return frozenset(
        name
        for cls in operator.__mro__
        if "__init__" in vars(cls)
        for name, parameter in inspect.signature(cls.__init__).parameters.items()  # type: ignore[misc]
        if parameter.kind in (inspect.Parameter.KEYWORD_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    )
