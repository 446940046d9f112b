"""Copies a flow at most once, even if the answer is lost."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace

from airflow_provider_trifacta.api.answers import Flow
from airflow_provider_trifacta.api.arguments import check_id
from airflow_provider_trifacta.api.clock import Clock
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaConfigurationError,
)
from airflow_provider_trifacta.api.identity import who_am_i
from airflow_provider_trifacta.api.ids import id_of, same_id
from airflow_provider_trifacta.api.logs import Log
from airflow_provider_trifacta.api.messages import Id
from airflow_provider_trifacta.api.operations import copy_flow, list_resource
from airflow_provider_trifacta.api.paging import read_all
from airflow_provider_trifacta.api.procedures import Pause, Procedure
from airflow_provider_trifacta.api.retries import may_have_been_carried_out
from airflow_provider_trifacta.api.runs.job_group_rows import reference_of
from airflow_provider_trifacta.api.text import line, sentence
from airflow_provider_trifacta.api.timestamps import timestamp_of
from airflow_provider_trifacta.exceptions import TrifactaFlowCopyUnknown

#: Maximum clock skew between server and client, in seconds.
_CLOCK_MARGIN = 1.0
#: Seconds between the polls of the list of flows, which may lag.
_PAUSES = (1.0, 2.0, 4.0, 8.0)
#: Maximum number of pages, of a hundred flows with that name each, that are read.
_MOST_PAGES = 50
_MOST_NAMED = 20
#: The status of a successful copy.
_CREATED = 201


def copy_flow_once(
    flow_id: Id, *, name: str | None, description: str | None, copy_datasources: bool, log: Log
) -> Callable[[Clock], Procedure[Id]]:
    """Return a procedure that copies a flow and returns the id of the copy (``copyFlow``, ``listFlows``).

    :param name: the name of the copy, used to find it if the answer is lost; None leaves it to the server.
    :raises TrifactaConfigurationError: names the argument that cannot be used.
    """
    for argument, value in (("name", name), ("description", description)):
        if value is not None and (not isinstance(value, str) or (argument == "name" and not value.strip())):
            raise TrifactaConfigurationError(f"{argument}: {value!r} is not a valid {argument} of a flow")
    source = check_id("flow_id", flow_id)
    copy = copy_flow(source, name=name, description=description, copy_datasources=copy_datasources)

    def procedure(clock: Clock) -> Procedure[Id]:
        me = yield from who_am_i(clock)
        since = me.earliest(clock.time() - _CLOCK_MARGIN)
        try:
            return _id_of_copy((yield copy), source)
        except TrifactaApiError as error:
            if not may_have_been_carried_out(error):
                raise
            if name is None:
                raise _unknown(source, None, error, {}) from error
            log.warning("The answer to copying flow %s was lost; looking for the copy. Reason: %s", source, error)
            try:
                found = yield from _find(name, since, me.id, source)
            except TrifactaApiError as unlisted:
                raise _unknown(source, name, unlisted, {}) from error
            certain = [identity for identity, dated in found.items() if dated]
            if len(found) != 1 or not certain:
                raise _unknown(source, name, error, found) from error
            log.warning("Found the copy: flow %s, named %r", certain[0], name)
            return certain[0]

    return procedure


def _id_of_copy(copied: Flow, source: Id) -> Id:
    identity = copied["id"]
    if id_of(identity) is None or str(identity) == str(source):
        raise TrifactaAnswerNotUnderstood(
            method="POST",
            path=f"/v4/flows/{source}/copy",
            status=_CREATED,
            message=f"expected a new flow, got one with the id {line(str(identity), 100)!r}",
        )
    return identity


def _find(name: str, since: float, person_id: str | None, source: Id) -> Procedure[dict[Id, bool]]:
    """Find the flows with this name that this user has created since then, in a list that may lag.

    Two consecutive reads must agree: the first may show another user's flow before it shows ours.

    :return: for each, whether the list reports when it was created; if not, it may be older.
    """
    found: dict[Id, bool] = {}
    listing = list_resource(
        "flows", filter=name, filter_type="exact", sort="-createdAt", query={"flowsFilter": "all"}
    )
    for pause in _PAUSES:
        yield Pause(pause)
        before = dict(found)
        for row in (yield from read_all(replace(listing, max_pages=_MOST_PAGES))):
            created = timestamp_of(row.get("createdAt"))
            identity = id_of(row.get("id"))
            old = created is not None and created.timestamp() < since
            foreign = same_id(reference_of(row, ("creator", "creatorid")), person_id) is False
            if (
                row.get("name") == name
                and identity is not None
                and str(identity) != str(source)
                and not (old or foreign)
            ):
                found[identity] = created is not None
        if found and found == before:
            break
    return found


def _unknown(
    flow_id: Id, name: str | None, error: TrifactaApiError, candidates: Collection[Id]
) -> TrifactaFlowCopyUnknown:
    if candidates:
        several = f"Several flows named {name!r} match" if len(candidates) > 1 else "One flow may be the copy"
        exists = f"{several}: {', '.join(map(str, [*candidates][:_MOST_NAMED]))}."
    elif name is None:
        exists = "The server chose the name of the copy, so the copy cannot be found; specify a name."
    else:
        exists = f"No flow named {name!r} is listed yet, but one may still appear."
    return TrifactaFlowCopyUnknown(
        f"It is not known whether flow {flow_id} was copied: {sentence(error.without_hint())} {exists} Check "
        "the flows in the application before you clear the task. It is not retried, since that could copy the "
        "flow twice.",
        candidates=list(candidates),
    )
