"""A call of the API, and the function that carries it out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider_trifacta.emulator import crud
from airflow_provider_trifacta.emulator.contract import Contract, Operation, is_true
from airflow_provider_trifacta.emulator.runs import Runs
from airflow_provider_trifacta.emulator.selection import with_selection
from airflow_provider_trifacta.emulator.state import Row, State
from airflow_provider_trifacta.emulator.writing import Writing


@dataclass(frozen=True)
class Call:
    """A request that passed all checks.

    :param person: id of the user of the token.
    :param raw: the raw body, for requests that are not JSON.
    """

    operation: Operation
    path: Mapping[str, Any]
    query: Mapping[str, Any]
    body: Any
    person: int
    headers: Mapping[str, str] = field(default_factory=dict)
    raw: bytes = b""

    @property
    def id(self) -> Any:
        """The id in the path."""
        return self.path["id"]


@dataclass(frozen=True)
class Content:
    """An answer that is not JSON."""

    media_type: str
    body: bytes


#: The answer to a repeated ``x-execution-id``: 304, no body.
DUPLICATE = object()

Handler = Callable[["Handlers", Call], Any]
_HANDLERS: dict[str, Handler] = {}


def handles(*operation_ids: str) -> Callable[[Handler], Handler]:
    """Register a function as the handler of these operations."""

    def register(handler: Handler) -> Handler:
        for operation_id in operation_ids:
            _HANDLERS[operation_id] = handler
        return handler

    return register


class Handlers:
    """Carries out operations.

    :param honour_execution_id: whether a repeated ``x-execution-id`` is answered with 304; older releases do not
        know the header.
    :param library_lag: seconds until the job library shows a new job group.
    :param opaque_tokens: whether the values of new tokens do not contain their ids.
    :param endless_tokens: whether tokens that never expire may be created.
    :param writing: how answers represent job groups.
    """

    def __init__(self, state: State, runs: Runs, contract: Contract) -> None:
        self.state = state
        self.runs = runs
        self.contract = contract
        self.honour_execution_id = True
        self.library_lag = 0.0
        self.opaque_tokens = False
        self.endless_tokens = True
        self.writing = Writing()

    def serves(self, operation: Operation) -> bool:
        """Return whether an operation is implemented."""
        return operation.id in _HANDLERS or (
            operation.resource in crud.RESOURCES and _crud_verb(operation) is not None
        )

    def handle(self, call: Call) -> Any:
        """Carry out a call and return the answer; None is an answer without a body.

        :raises Problem: the answer is an error.
        """
        handler = _HANDLERS.get(call.operation.id)
        if handler is not None:
            return handler(self, call)
        table, verb = call.operation.resource, _crud_verb(call.operation)
        if verb == "create":
            row = crud.create(self.state, table, crud.of_caller(call.body), call.person)
            return with_selection(self.state, table, row, {})
        if verb == "list":
            return crud.read_list(self.state, table, call.query)
        if verb == "count":
            return crud.count(self.state, table, call.query)
        if verb == "read":
            return crud.read(self.state, table, call.id, call.query)
        if verb == "update":
            return crud.update(self.state, table, call.id, call.body, call.person)
        return crud.delete(self.state, table, call.id)

    def job_group(self, call: Call, *, poll: bool = False) -> Row:
        """Return the job group of a call in its current state."""
        deleted = is_true(call.query.get("includeDeleted"))
        return self.runs.look(self.state.get("jobGroups", call.id, deleted=deleted), poll=poll)

    def once(self, call: Call, start: Callable[[], Any]) -> Any:
        """Start something, unless the ``x-execution-id`` of the call has already started something."""
        execution_id = call.headers.get("x-execution-id")
        if execution_id is None or not self.honour_execution_id:
            return start()
        key = f"{call.person}:{execution_id}"
        if key in self.state.executions:
            return DUPLICATE
        answer = start()
        self.state.executions[key] = call.operation.id
        return answer


def _crud_verb(operation: Operation) -> str | None:
    tail = operation.path.removeprefix(f"/v4/{operation.resource}")
    if tail == "":
        return {"GET": "list", "POST": "create"}.get(operation.method)
    if tail == "/count":
        return "count"
    if tail == "/{id}":
        return {"GET": "read", "PATCH": "update", "PUT": "update", "DELETE": "delete"}.get(operation.method)
    return None
