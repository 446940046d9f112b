"""The asset events of a task: which run they come from, and what it wrote."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.airflow_support.asset_aliases import without_unknown_aliases
from airflow_provider_trifacta.airflow_support.compat import Asset, AssetAlias, BaseAsset
from airflow_provider_trifacta.api.answers import OutputFile, Table
from airflow_provider_trifacta.api.datasets import locate_file, locate_table
from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.redaction import redact_userinfo
from airflow_provider_trifacta.api.runs.result import RunResult
from airflow_provider_trifacta.api.text import line
from airflow_provider_trifacta.tasks.asset_names import uri_of_file, uri_of_table

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context
    from airflow_provider_trifacta.tasks.outcome import AwaitedRun

#: How many files, and how many tables, an event lists, and the characters of JSON that each list may take.
_MOST_LISTED = 20
_LONGEST_LIST = 8000
#: How many files and tables get an event of their own. Airflow stores all events of a task in the request that
#: ends it, and may fail the task if that takes longer than five seconds ([workers] execution_api_timeout): on a
#: busy machine, 100 new assets took 1.3 seconds, and 500 took 7.
_MOST_EVENTS = 50
#: How many are looked at: a run may write hundreds of thousands.
_MOST_EXAMINED = 1000
#: How many files and tables a line of the log names.
_MOST_NAMED = 5
_LONGEST_NAME = 1000
_MOST_PARTS = 10
_LONGEST_PART = 200


@dataclass(frozen=True)
class _Output:
    """A file or table that a run wrote.

    :param name: for users.
    :param uri: of the asset that it is; None if it has no asset name.
    :param details: what an event of its own tells. Strings, since Airflow 2.11 and 3.0 hash them.
    """

    name: str
    uri: str | None
    details: dict[str, str]


def describe_outlets(run: AwaitedRun, outlets: Iterable[Any], context: Context, status: str | None) -> None:
    """Describe a run in the events that Airflow emits for the assets in the outlets of its task.

    One that Airflow does not accept is logged.

    :param status: its final status; None if the task has not waited for it.
    """
    assets = [outlet for outlet in outlets if _is_asset(outlet)]
    if not assets:
        return
    extra = _identity(run, status)
    if status is not None:
        extra |= _contents(run.known_result())
    for asset in assets:
        with decoration(f"{run.title} is missing in the event of {line(str(asset), _LONGEST_PART)}", run.log):
            context["outlet_events"][asset].extra.update(extra)


def emit_outputs(run: AwaitedRun, outlets: Iterable[Any], context: Context, status: str) -> None:
    """Emit an event for each file and table that a run wrote, through the asset aliases in the outlets.

    What has no asset name gets no event, and is logged.

    :param status: the final status of the run.
    """
    outlets = list(outlets)
    aliases = [outlet for outlet in outlets if isinstance(outlet, AssetAlias)]
    known = without_unknown_aliases(aliases)
    if not known:
        run.log.warning(
            "What %s wrote gets no asset events: Airflow does not know the alias %s", run, _names(aliases)
        )
        return
    result = run.known_result()
    if not result.job_groups:
        run.log.warning("What %s wrote gets no asset events, since it is not known", run)
    own = {outlet.uri: outlet for outlet in outlets if isinstance(outlet, Asset)}
    found, nameless = _assets(result, own)
    identity = _identity(run, status)
    for asset, details in found[:_MOST_EVENTS]:
        for alias in known:
            context["outlet_events"][alias].add(asset, extra={**identity, **details})
    if found:
        uris = [asset.uri for asset, _ in found[:_MOST_EVENTS]]
        run.log.info("Asset events through %s: %s", _names(known), _listed(uris))
    unseen = max(0, len(result.files) + len(result.tables) - _MOST_EXAMINED)
    left_out = unseen + max(0, len(found) - _MOST_EVENTS)
    if left_out:
        run.log.warning("%s wrote too much for an event each: %d more get none", run.title, left_out)
    if nameless:
        run.log.warning("No asset event for what has no asset name (%d): %s", len(nameless), _listed(nameless))


def _assets(result: RunResult, own: Mapping[str, Any]) -> tuple[list[tuple[Any, dict[str, str]]], list[str]]:
    """Return the assets that a run wrote, each with what its event tells, and the names of what is none.

    :param own: the assets in the outlets of the task, by URI. On Airflow 3, their names may differ from it.
    """
    found: dict[str, tuple[Any, dict[str, str]]] = {}
    nameless: list[str] = []
    for output in islice(chain(_files(result.files), _tables(result.tables)), _MOST_EXAMINED):
        if output.uri in found:
            continue
        asset = None if output.uri is None else own.get(output.uri) or _asset(output.uri)
        if asset is None:
            nameless.append(output.name)
        else:
            found[asset.uri] = asset, output.details
    return list(found.values()), nameless


def _is_asset(outlet: Any) -> bool:
    return isinstance(outlet, BaseAsset) and not isinstance(outlet, AssetAlias)


def _identity(run: AwaitedRun, status: str | None) -> dict[str, Any]:
    return {"kind": run.kind.name, "id": run.ref.id, "status": status, "link": run.link}


def _contents(result: RunResult) -> dict[str, Any]:
    """Return what an event tells about everything that a run wrote."""
    contents: dict[str, Any] = {"outputs_known": result.is_complete}
    if len(result.unread) < len(result.job_groups):
        contents |= {
            "files": _first(file.name for file in _files(result.files)),
            "file_count": len(result.files),
            "tables": _first({**table.details, "uri": table.uri} for table in _tables(result.tables)),
            "table_count": len(result.tables),
        }
    return contents


def _files(files: Iterable[OutputFile]) -> Iterator[_Output]:
    for file in files:
        location = locate_file(file)
        uri = None if location is None else uri_of_file(location)
        if location is None or uri is None:
            # Without what may be a password or a signature.
            name = redact_userinfo(line(file["uri"], _LONGEST_NAME)).partition("?")[0]
        else:
            name = line(f"{location.scheme}://{location.authority}{location.path}", _LONGEST_NAME)
        yield _Output(name, uri, {"file": name})


def _tables(tables: Iterable[Table]) -> Iterator[_Output]:
    for table in tables:
        location = locate_table(table)
        vendor = table.get("vendor") if location is None else location.server.vendor
        parts: Sequence[Any] = [*table.get("relationalPath", ()), table.get("table")]
        if location is not None:
            parts = location.names
        name = ".".join(line(str(part), _LONGEST_PART) for part in parts[:_MOST_PARTS] if part is not None)
        uri = None if location is None else uri_of_table(location)
        yield _Output(name, uri, {"vendor": line(vendor or "", _LONGEST_PART), "table": name})


def _first(items: Iterable[Any]) -> list[Any]:
    """Return the first items, as many as an event may list."""
    first = []
    room = _LONGEST_LIST
    for item in islice(items, _MOST_LISTED):
        room -= len(json.dumps(item))
        if room < 0:
            break
        first.append(item)
    return first


def _asset(uri: str) -> Any:
    """Return the asset of a URI; None if Airflow refuses the URI, or would store another one."""
    with warnings.catch_warnings():
        # Airflow 2.11 to 3.1 warn of the container in abfss://container@account, and leave it out.
        warnings.simplefilter("ignore", UserWarning)
        try:
            asset = Asset(uri)
        except ValueError:
            return None
    return asset if asset.uri == uri else None


def _names(aliases: Iterable[Any]) -> str:
    return ", ".join(alias.name for alias in aliases)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else ""
    return ", ".join(names[:_MOST_NAMED]) + more
