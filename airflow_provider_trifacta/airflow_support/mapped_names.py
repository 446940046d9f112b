"""Names the items of a mapped task after what they run, in place of 0, 1, 2."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

from airflow_provider_trifacta.api.arguments import check_id
from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.text import line

#: Maximum length of a name, in characters. Airflow's database stores 250.
_LONGEST = 100


class NamesMappedItems:
    """Mixin for operators and sensors, before Airflow's base class.

    It gives a mapped task a ``map_index_template``, unless a user gives one. Airflow renders it before the task
    runs (3.2 and later) and after it has ended.
    """

    #: The arguments that tell items apart, and the word before the value of each; empty for names and values.
    item_arguments: ClassVar[Mapping[str, str]]

    @classmethod
    def partial(cls, **kwargs: Any) -> Any:
        """Return the operator with these arguments, to be mapped over others (see Airflow's ``partial``)."""
        partial = super().partial(**kwargs)  # type: ignore[misc]
        # What is the same for all items tells nothing.
        names = [name for name in cls.item_arguments if name not in kwargs]
        # None may be what a user gave; Airflow sets it, too.
        if names and "map_index_template" not in kwargs and partial.kwargs.get("map_index_template") is None:
            arguments = ", ".join(f"'{name}'" for name in names)
            # With a sign before the number, it stays a string where templates are rendered as native objects.
            template = f"{{{{ task.name_of_item({arguments}) or '#' ~ ti.map_index }}}}"
            partial.kwargs["map_index_template"] = template
        return partial

    def name_of_item(self, *arguments: str) -> str:
        """Return the name of an item of a mapped task: ``recipe 7, region=emea``. For ``map_index_template``.

        Never fails. Values that Airflow masks in logs are masked.

        :param arguments: names of arguments; those without a value are left out.
        """
        name = ""
        log: Log = self.log  # type: ignore[attr-defined]
        with decoration("The name of this item of the mapped task could not be determined", log):
            parts = [part for argument in arguments for part in self._parts_of(argument)]
            name = line(", ".join(parts), _LONGEST)
        return name

    def _parts_of(self, argument: str) -> Iterator[str]:
        from airflow_provider_trifacta.airflow_support.compat import redact

        value: Any = redact(getattr(self, argument, None), argument)
        if value is None or value == "" or value == {} or value == []:
            return
        if isinstance(value, Mapping):
            yield from (f"{key}={_plain(item)}" for key, item in value.items())
            return
        if isinstance(value, (list, tuple)):
            value = ", ".join(map(_plain, value))
        elif argument in self.item_arguments and argument.endswith("_id"):
            value = _id_in(argument, value)
        yield f"{self.item_arguments.get(argument) or argument} {value}"


def _id_in(argument: str, value: Any) -> Any:
    """Return the id in a URL; anything that is not an id unchanged."""
    try:
        return check_id(argument, value)
    except TrifactaConfigurationError:
        return value


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
