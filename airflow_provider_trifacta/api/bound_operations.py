"""Exposes every operation as a method of the clients and the hook, with its own signature and docstring."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from types import MethodType
from typing import Any, Generic, ParamSpec, Protocol, TypeVar, overload

from airflow_provider_trifacta.api import operations
from airflow_provider_trifacta.api.messages import Operation
from airflow_provider_trifacta.api.paging import Listing

P = ParamSpec("P")
T = TypeVar("T")


class Sends(Protocol):
    """Sends operations and waits for their answers."""

    def send(self, operation: Operation[T]) -> T:
        """Send an operation and return its result."""
        ...

    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        """Yield every object of a list."""
        ...


class SendsAsync(Protocol):
    """Sends operations and awaits their answers."""

    async def send(self, operation: Operation[T]) -> T:
        """Send an operation and return its result."""
        ...

    def iterate(self, listing: Listing[T]) -> AsyncIterator[T]:
        """Yield every object of a list."""
        ...


class _Method(Generic[P, T]):
    """An operation as a method: calling it sends the operation."""

    def __init__(self, operation: Callable[P, Operation[T]]) -> None:
        def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
            return self.send(operation(*args, **kwargs))

        self._operation = operation
        self._call = _described(call, operation)
        self.__doc__ = operation.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Callable[P, Operation[T]]: ...
    @overload
    def __get__(self, instance: Sends, owner: type) -> Callable[P, T]: ...
    @overload
    def __get__(self, instance: SendsAsync, owner: type) -> Callable[P, Coroutine[Any, Any, T]]: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        return self._operation if instance is None else MethodType(self._call, instance)


class _ListMethod(Generic[P, T]):
    """A list as a method: calling it returns an iterator over all its objects."""

    def __init__(self, listing: Callable[P, Listing[T]]) -> None:
        def call(self: Any, /, *args: P.args, **kwargs: P.kwargs) -> Any:
            return self.iterate(listing(*args, **kwargs))

        self._listing = listing
        self._call = _described(call, listing)
        self.__doc__ = listing.__doc__

    @overload
    def __get__(self, instance: None, owner: type) -> Callable[P, Listing[T]]: ...
    @overload
    def __get__(self, instance: Sends, owner: type) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, instance: SendsAsync, owner: type) -> Callable[P, AsyncIterator[T]]: ...

    def __get__(self, instance: Any, owner: type) -> Any:
        return self._listing if instance is None else MethodType(self._call, instance)


def _described(call: Callable[..., Any], function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a method the name, docstring and parameters of the function it wraps."""
    functools.update_wrapper(call, function)
    signature = inspect.signature(function)
    own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
    call.__signature__ = signature.replace(parameters=[own, *signature.parameters.values()])  # type: ignore[attr-defined]
    return call


class BoundOperations:
    """The operations of :mod:`airflow_provider_trifacta.api.operations` as methods.

    On a synchronous sender they return the result, and lists an iterator; on an asynchronous sender they return
    an awaitable, and lists an asynchronous iterator.
    """

    run_job_group = _Method(operations.run_job_group)
    list_job_groups = _ListMethod(operations.list_job_groups)
    get_job_group = _Method(operations.get_job_group)
    get_job_group_status = _Method(operations.get_job_group_status)
    get_jobs_for_job_group = _Method(operations.get_jobs_for_job_group)
    get_job_group_inputs = _Method(operations.get_job_group_inputs)
    get_job_group_outputs = _Method(operations.get_job_group_outputs)
    get_profiling_information_for_job_group = _Method(operations.get_profiling_information_for_job_group)
    get_profiling_information_for_job_group_consistent = _Method(
        operations.get_profiling_information_for_job_group_consistent
    )
    get_publications_for_job_group = _Method(operations.get_publications_for_job_group)
    cancel_job_group = _Method(operations.cancel_job_group)

    run_flow = _Method(operations.run_flow)
    get_flow_run = _Method(operations.get_flow_run)
    get_flow_run_status = _Method(operations.get_flow_run_status)
    get_flow_run_job_groups = _ListMethod(operations.get_flow_run_job_groups)
    get_flow = _Method(operations.get_flow)
    copy_flow = _Method(operations.copy_flow)
    delete_flow = _Method(operations.delete_flow)

    run_plan = _Method(operations.run_plan)
    get_plan_snapshot_run = _Method(operations.get_plan_snapshot_run)
    list_plan_snapshot_runs = _ListMethod(operations.list_plan_snapshot_runs)
    list_plans = _ListMethod(operations.list_plans)
    read_full = _Method(operations.read_full)
    cancel_plan_snapshot_run = _Method(operations.cancel_plan_snapshot_run)

    list_job_library = _ListMethod(operations.list_job_library)
    count_job_library = _Method(operations.count_job_library)
    get_job_status = _Method(operations.get_job_status)

    create_api_access_token = _Method(operations.create_api_access_token)
    list_api_access_tokens = _Method(operations.list_api_access_tokens)
    get_api_access_token = _Method(operations.get_api_access_token)
    delete_api_access_token = _Method(operations.delete_api_access_token)
    get_current_person = _Method(operations.get_current_person)

    create_resource = _Method(operations.create_resource)
    get_resource = _Method(operations.get_resource)
    list_resource = _ListMethod(operations.list_resource)
    update_resource = _Method(operations.update_resource)
    delete_resource = _Method(operations.delete_resource)
    run_action = _Method(operations.run_action)
