"""The hook: an Airflow connection becomes a client."""

from __future__ import annotations

import functools
import os
import random
import uuid
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

from airflow.providers.common.compat.connection import get_async_connection
from airflow.providers.common.compat.sdk import BaseHook

from airflow_provider_trifacta.api.async_client import AsyncTrifactaClient
from airflow_provider_trifacta.api.bound_operations import BoundOperations
from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK, Clock
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaApiError,
    TrifactaConfigurationError,
    TrifactaForbidden,
    TrifactaNotFound,
    TrifactaTransportError,
)
from airflow_provider_trifacta.api.flows import Flow
from airflow_provider_trifacta.api.job_group_launch import JobGroupLaunch
from airflow_provider_trifacta.api.messages import Id, JsonObject, Listing, Operation, epoch_milliseconds
from airflow_provider_trifacta.api.settings import ClientSettings, check_seconds, default_user_agent
from airflow_provider_trifacta.api.submission import Submission, submit_once
from airflow_provider_trifacta.connection import (
    CONN_TYPE,
    DEFAULT_CONN_ID,
    EXTRA_FIELDS,
    HIDDEN_FIELDS,
    HOOK_NAME,
    PLACEHOLDERS,
    RELABELING,
    AirflowConnection,
    settings_of,
    token_of,
    unknown_extras,
)

T = TypeVar("T")

#: Seconds that each step of a connection test may take.
_TEST_TIMEOUT = 5.0


@dataclass
class _ConnectionToken:
    """The password of an Airflow connection, for the synchronous client."""

    hook: TrifactaHook
    value: str = field(repr=False)

    def token(self) -> str:
        return self.value

    def reread(self) -> str:
        self.value = token_of(self.hook.get_connection(self.hook.trifacta_conn_id))
        return self.value


@dataclass
class _AsyncConnectionToken:
    """The password of an Airflow connection, for the asynchronous client."""

    hook: TrifactaHook
    value: str = field(repr=False)

    async def token(self) -> str:
        return self.value

    async def reread(self) -> str:
        self.value = token_of(await get_async_connection(self.hook.trifacta_conn_id, hook=self.hook))
        return self.value


class TrifactaHook(BoundOperations, BaseHook):
    """Talks to the server of an Airflow connection.

    The operations of the API are its methods (``hook.get_job_group_status(90210)``), see
    :mod:`airflow_provider_trifacta.api.operations`. Nothing is read or connected before the first call.

    :param trifacta_conn_id: the Airflow connection.
    :param retry_budget: seconds for which calls are repeated; None takes the connection's.
    :param clock: time; tests pass their own.
    """

    conn_name_attr = "trifacta_conn_id"
    default_conn_name = DEFAULT_CONN_ID
    conn_type = CONN_TYPE
    hook_name = HOOK_NAME

    def __init__(
        self,
        trifacta_conn_id: str = DEFAULT_CONN_ID,
        *,
        retry_budget: float | None = None,
        clock: Clock = SYSTEM_CLOCK,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.trifacta_conn_id = trifacta_conn_id
        self._retry_budget = (
            None if retry_budget is None else check_seconds("retry_budget", retry_budget, zero=True)
        )
        self.clock = clock

    # -------------------------------------------------------------------------------------------------- clients

    def get_conn(self) -> TrifactaClient:
        """Return the synchronous client, made at the first call.

        :raises TrifactaConfigurationError: the connection cannot be used; names the field.
        """
        return self.client

    @functools.cached_property
    def client(self) -> TrifactaClient:
        """The synchronous client, made at the first access."""
        connection = self.get_connection(self.trifacta_conn_id)
        settings = self._settings(connection)
        return TrifactaClient(settings, _ConnectionToken(self, token_of(connection)), clock=self.clock)

    @asynccontextmanager
    async def async_client(self) -> AsyncIterator[AsyncTrifactaClient]:
        """Give the asynchronous client, for triggers. The connection is read asynchronously.

        :raises TrifactaConfigurationError: the connection cannot be used; names the field.
        """
        connection = await get_async_connection(self.trifacta_conn_id, hook=self)
        settings = self._settings(connection)
        credential = _AsyncConnectionToken(self, token_of(connection))
        async with AsyncTrifactaClient(settings, credential, clock=self.clock) as client:
            yield client

    def _settings(self, connection: AirflowConnection) -> ClientSettings:
        for warning in unknown_extras(connection):
            self.log.warning(warning)
        settings = settings_of(connection, user_agent=_user_agent())
        if self._retry_budget is None:
            return settings
        return replace(settings, retries=replace(settings.retries, budget=self._retry_budget))

    def send(self, operation: Operation[T]) -> T:
        """Send an operation and return its result; repeat it as the retry policy says.

        :raises TrifactaApiError: the last error, as itself.
        """
        return self.client.send(operation)

    def iterate(self, listing: Listing) -> Iterator[JsonObject]:
        """Give every object of a list, page by page."""
        return self.client.iterate(listing)

    def run(self, flow: Flow[T]) -> T:
        """Carry out a flow and return its result."""
        return self.client.run(flow)

    def submit_job_group(
        self,
        wrangled_dataset_id: Id,
        *,
        run_parameters: Mapping[str, str | int | float | bool] | None = None,
        overrides: Mapping[str, Any] | None = None,
        reference_date: datetime | str | None = None,
        request_body_extra: Mapping[str, Any] | None = None,
        execution_id: str | None = None,
        submitted_since: datetime | None = None,
    ) -> Submission:
        """Start a recipe exactly once, whatever becomes of the answer (``runJobGroup``, ``listJobLibrary``).

        For operators of your own: the same protection that ``TrifactaRunJobGroupOperator`` has. ::

            submission = hook.submit_job_group(4711, execution_id=str(uuid5(NAMESPACE, "what this is for")))
            submission.run_id, submission.outcome  # 90210, "started" or "adopted"

        :param execution_id: ``x-execution-id``; a random one when None. Say one that a retry of your task says
            again, together with ``submitted_since``, and the retry adopts what was started before.
        :param submitted_since: when it may have been submitted before; None means never.
        :raises TrifactaSubmitOutcomeUnknown: it may or may not have been started; nothing more was.
        :raises TrifactaApiError: it was refused; nothing was started.
        """
        launch = JobGroupLaunch(
            wrangled_dataset_id,
            run_parameters=run_parameters,
            overrides=overrides,
            reference_date=reference_date,
            request_body_extra=request_body_extra,
        )
        flow = submit_once(
            launch,
            execution_id or str(uuid.uuid4()),
            since=epoch_milliseconds(submitted_since) / 1000 if submitted_since else self.clock.time(),
            sent_before=submitted_since is not None,
            retries=self.client.settings.retries,
            clock=self.clock,
            random_number=random.random,
            log=self.log,
        )
        return self.run(flow)

    def get_job_group_pdf_results(self, job_group_id: Id, path: str | os.PathLike[str]) -> Path:
        """Stream the profile of a job group as PDF to a file (``getJobGroupPdfResults``).

        :param path: where to put the file; its folder must exist.
        :return: the path of the file.
        """
        return self.client.get_job_group_pdf_results(job_group_id, path)

    # --------------------------------------------------------------------------------------------- Airflow's form

    def test_connection(self) -> tuple[bool, str]:
        """Ask who the token belongs to. Answers in bounded time, with what is wrong and what to do."""
        try:
            connection = self.get_connection(self.trifacta_conn_id)
            settings = self._settings(connection)
            settings = replace(
                settings,
                connect_timeout=min(settings.connect_timeout, _TEST_TIMEOUT),
                read_timeout=min(settings.read_timeout, _TEST_TIMEOUT),
                retries=replace(settings.retries, budget=min(settings.retries.budget, _TEST_TIMEOUT)),
            )
            with TrifactaClient(settings, token_of(connection), clock=self.clock) as client:
                person = client.get_current_person()
        except TrifactaConfigurationError as error:
            return False, str(error)
        except TrifactaApiError as error:
            return False, f"{error}{_advice(error)}"
        except Exception as error:
            # The form shows what is returned and hides what is raised.
            return False, f"{type(error).__name__}: {error}"
        who = person.get("email") or person.get("name") or f"user {person.get('id')}"
        return True, f"Connected to {settings.base_url}. The token belongs to {who}."

    @classmethod
    def get_connection_form_widgets(cls) -> dict[str, Any]:
        """Return the fields of the form. Airflow 3 reads them from the provider's metadata instead."""
        from flask_appbuilder.fieldwidgets import BS3TextFieldWidget
        from wtforms import BooleanField, StringField

        def widget(schema: Any, label: str, description: str) -> Any:
            if "boolean" in schema["type"]:
                return BooleanField(label, default=schema.get("default"), description=description)
            default = schema.get("default")
            return StringField(
                label,
                default="" if default is None else str(default),
                description=description,
                widget=BS3TextFieldWidget(),
            )

        return {name: widget(field.schema, field.label, field.description) for name, field in EXTRA_FIELDS.items()}

    @classmethod
    def get_ui_field_behaviour(cls) -> dict[str, Any]:
        """Return how the form treats Airflow's own fields. Airflow 3 reads it from the provider's metadata."""
        return {
            "hidden_fields": HIDDEN_FIELDS,
            "relabeling": RELABELING,
            "placeholders": PLACEHOLDERS,
        }


def _advice(error: TrifactaApiError) -> str:
    """Return what to do about an error of a connection test, where the error does not say it itself."""
    if isinstance(error, TrifactaTransportError):
        return ". Check the base URL, and that this machine may reach it; behind a proxy, set it in the extra"
    if isinstance(error, TrifactaForbidden):
        return ""
    if isinstance(error, (TrifactaNotFound, TrifactaAnswerNotUnderstood)):
        return (
            ". The server is there, but it does not answer like Designer Cloud: check the base URL, "
            "without /v4 at its end"
        )
    return ""


@functools.cache
def _user_agent() -> str:
    from airflow import __version__ as airflow_version

    return f"{default_user_agent()} airflow/{airflow_version}"
