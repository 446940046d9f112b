"""The hook: turns an Airflow connection into a client."""

from __future__ import annotations

import functools
import os
import random
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

from asgiref.sync import sync_to_async

from airflow_provider_trifacta.airflow_support.cancellation import keep_message_of_cancel
from airflow_provider_trifacta.airflow_support.compat import (
    AirflowNotFoundException,
    BaseHook,
    ObjectStoragePath,
    get_connection_asynchronously,
)
from airflow_provider_trifacta.airflow_support.files import naming, save, target_of
from airflow_provider_trifacta.airflow_support.rest_api import AirflowApi
from airflow_provider_trifacta.api.access_tokens import current_of, list_tokens
from airflow_provider_trifacta.api.arguments import check_retry_budget
from airflow_provider_trifacta.api.async_client import AsyncTrifactaClient
from airflow_provider_trifacta.api.bound_operations import BoundOperations
from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.clock import SYSTEM_CLOCK, Clock, Interrupt, sleep_unless
from airflow_provider_trifacta.api.credentials import AsyncCredential
from airflow_provider_trifacta.api.decoration import decoration
from airflow_provider_trifacta.api.errors import (
    TrifactaAnswerNotUnderstood,
    TrifactaError,
    TrifactaForbidden,
    TrifactaNotFound,
)
from airflow_provider_trifacta.api.gate import Gate
from airflow_provider_trifacta.api.messages import Id, Operation
from airflow_provider_trifacta.api.paging import Listing
from airflow_provider_trifacta.api.procedures import Procedure
from airflow_provider_trifacta.api.retries import RetryPolicy
from airflow_provider_trifacta.api.runs.job_group_launch import JobGroupLaunch
from airflow_provider_trifacta.api.settings import ClientSettings, default_user_agent
from airflow_provider_trifacta.api.submission import Submission, submit_once
from airflow_provider_trifacta.api.text import line, sentence
from airflow_provider_trifacta.api.timestamps import epoch_milliseconds
from airflow_provider_trifacta.connection import (
    CONN_TYPE,
    DEFAULT_CONN_ID,
    DEFAULT_EXPIRY_WARNING_DAYS,
    EXTRA_FIELDS,
    HIDDEN_FIELDS,
    HOOK_NAME,
    PLACEHOLDERS,
    RELABELING,
    AirflowConnection,
    extra_of,
    name_of,
    oauth_of,
    of_connection,
    settings_of,
    unknown_extras,
)
from airflow_provider_trifacta.hooks.stored_tokens import (
    AsyncOAuthToken,
    AsyncStoredToken,
    OAuthToken,
    StoredToken,
)
from airflow_provider_trifacta.token_stores import TokenStore, read_token, store_of
from airflow_provider_trifacta.tokens.oauth_connection import TAKE_OVER_AFTER, OAuthConnection
from airflow_provider_trifacta.tokens.oauth_refresh import RefreshResult
from airflow_provider_trifacta.tokens.patience import ReadingPatience

T = TypeVar("T")

#: Seconds that each step of a connection test may take.
_TEST_TIMEOUT = 5.0


@dataclass(frozen=True)
class AsyncAccess:
    """What asynchronous clients of a connection are made of.

    :param identity: equal for those that may share a client: same connection, settings and credentials.
    """

    settings: ClientSettings
    credential: AsyncCredential = field(repr=False)
    identity: Hashable = field(repr=False)


class TrifactaHook(BoundOperations, BaseHook):
    """Talks to the server of an Airflow connection.

    The operations of the API are its methods (``hook.get_job_group_status(90210)``), see
    :mod:`airflow_provider_trifacta.api.operations`. Nothing is read or connected before the first call.

    :param trifacta_conn_id: the Airflow connection.
    :param retry_budget: seconds for which failing calls are retried; None uses the connection's.
    :param clock: the clock; tests pass their own.
    :param interrupt: called before each synchronous request, and at least once a second while the hook waits;
        an exception that it raises interrupts the hook.
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
        interrupt: Interrupt | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.trifacta_conn_id = trifacta_conn_id
        self.retry_budget = check_retry_budget(retry_budget)
        self.clock = clock
        self._interrupt = interrupt
        self._async_access: AsyncAccess | None = None
        #: How long calls are repeated, and how long a token that cannot be read is read again.
        self.retries = RetryPolicy() if self.retry_budget is None else RetryPolicy(budget=self.retry_budget)
        self._variables_with_token: set[str] = set()
        self._token_was_read = False

    # -------------------------------------------------------------------------------------------------- clients

    def get_conn(self) -> TrifactaClient:
        """Return the synchronous client, created at the first call.

        :raises TrifactaConfigurationError: the connection cannot be used; names the field.
        :raises TrifactaTokenUnreadable: the token could not be read for the retry budget.
        """
        return self.client

    @functools.cached_property
    def client(self) -> TrifactaClient:
        """The synchronous client, created at the first access."""
        connection = self.get_connection(self.trifacta_conn_id)
        settings = self._settings(connection)
        self._warning_days = _warning_days(connection)
        self._starts_per_minute: Mapping[str, float] = extra_of(connection).get("max_starts_per_minute", {})
        self._credential: StoredToken | OAuthToken
        oauth = _oauth_connection(connection, settings)
        if oauth is not None:
            self._credential = OAuthToken(self, oauth)
            self._credential.token()
        else:
            token = self._patiently(lambda: read_token(connection, held=self._variables_with_token))
            self._credential = StoredToken(self, token)
        return TrifactaClient(settings, self._credential, clock=self.clock, interrupt=self._interrupt)

    @property
    def is_connected(self) -> bool:
        """Whether :attr:`client` exists. If not, it asks Airflow for the connection."""
        return "client" in vars(self)

    @asynccontextmanager
    async def async_client(self, *, gate: Gate | None = None) -> AsyncIterator[AsyncTrifactaClient]:
        """Yield an asynchronous client, for triggers. The first call reads connection and token asynchronously.

        :param gate: paces the requests of the client; None sends each at once.
        :raises TrifactaConfigurationError: the connection cannot be used; names the field.
        :raises TrifactaTokenUnreadable: it, or the token, could not be read for the retry budget.
        """
        access = await self.async_access()
        client = AsyncTrifactaClient(access.settings, access.credential, clock=self.clock, reached=True, gate=gate)
        async with client:
            yield client

    async def async_access(self) -> AsyncAccess:
        """Return what asynchronous clients are made of, read at the first call.

        A trigger continues what a task began, so the connection was usable: every failure to read it is retried.

        :raises TrifactaConfigurationError: the connection cannot be used; names the field.
        :raises TrifactaTokenUnreadable: it, or the token, could not be read for the retry budget.
        """
        if self._async_access is None:
            self._token_was_read = True
            self._async_access = await keep_message_of_cancel(self._read_access())
        return self._async_access

    async def _read_access(self) -> AsyncAccess:
        connection = await self._async_patiently(self._async_connection)
        settings = self._settings(connection)
        credential = await self._async_credential(connection, settings)
        # An OAuth 2.0 access token is replaced every few minutes; where it is kept is in the connection.
        token = None if isinstance(credential, AsyncOAuthToken) else await credential.token()
        fields = (connection.login, connection.password, connection.extra)
        return AsyncAccess(settings, credential, (self.trifacta_conn_id, settings, *fields, token))

    async def _async_credential(self, connection: AirflowConnection, settings: ClientSettings) -> AsyncCredential:
        oauth = await sync_to_async(_oauth_connection)(connection, settings)
        if oauth is not None:
            return AsyncOAuthToken(self, oauth)
        return AsyncStoredToken(self, await self._async_patiently(lambda: self._read_in_thread(connection)))

    def token_store(self, *, airflow_api_conn_id: str | None = None) -> TokenStore:
        """Return where the API access token of the connection is kept.

        :param airflow_api_conn_id: the Airflow connection to Airflow's own REST API, needed on Airflow 3 when the
            token is the password of the connection.
        :raises TrifactaConfigurationError: the connection uses OAuth 2.0.
        """
        connection = self.get_connection(self.trifacta_conn_id)
        if oauth_of(connection) is not None:
            raise of_connection(
                connection,
                "uses OAuth 2.0 (extra oauth_client_id), so it has no API access token to rotate. Refresh its "
                "token pair with TrifactaRefreshOAuthTokenOperator",
            )
        api = AirflowApi(self.get_connection(airflow_api_conn_id)) if airflow_api_conn_id else None
        return store_of(connection, airflow_api=api)

    def read_token(self) -> str:
        """Return the API access token, read from where it is kept.

        Once it has been read, later failures to read it are retried within the retry budget.

        :raises TrifactaTokenUnreadable: it could not be read.
        """
        held = self._variables_with_token
        return self._patiently(lambda: read_token(self.get_connection(self.trifacta_conn_id), held=held))

    def refresh_oauth_token(self, *, by: str, take_over_after: float = TAKE_OVER_AFTER) -> RefreshResult:
        """Refresh the token pair of an OAuth connection, or see that another task has.

        :param by: which task refreshes, for users.
        :param take_over_after: seconds after which another task that makes no progress is replaced.
        :raises TrifactaConfigurationError: the connection does not use OAuth 2.0, or cannot be used.
        :raises TrifactaRefreshError: the pair was not refreshed; its subclasses report why.
        :raises TrifactaTokenUnreadable: the pair could not be read; nothing was changed.
        """
        connection = self.get_connection(self.trifacta_conn_id)
        oauth = _oauth_connection(connection, self._settings(connection))
        if oauth is None:
            raise of_connection(
                connection,
                "does not use OAuth 2.0. For Alteryx One, set oauth_client_id and oauth_token_url in its extra. "
                "An API access token is replaced with TrifactaRotateApiAccessTokenOperator",
            )
        result = oauth.refresh(by=by, clock=self.clock, log=self.log, take_over_after=take_over_after)
        self._warn_before_pair_ends(result.refresh_token_ends_at, _warning_days(connection))
        return result

    def get_token_expiry(self) -> datetime | None:
        """Return when the current token expires (``listApiAccessTokens``).

        None if it never does, or if the API does not reveal which of the user's tokens it is. With OAuth 2.0, this
        is the end of the refresh token, as far as ``oauth_refresh_token_days`` tells; nothing is sent.

        :raises TrifactaApiError: no answer, or access tokens are switched off.
        """
        self.get_conn()
        if isinstance(self._credential, OAuthToken):
            return self._credential.ends_at
        return self._token_expiry(budget=None)

    def _token_expiry(self, *, budget: float | None) -> datetime | None:
        tokens = self.run(list_tokens(budget=budget))
        current = current_of(self._credential.token(), tokens)
        return current.token.expires_at if current else None

    def warn_before_token_expires(self) -> None:
        """Log a warning if the current token expires within days. Checks once, and never fails a task."""
        client = self.client
        if not self._warning_days:
            return
        if isinstance(self._credential, OAuthToken):
            self._warn_before_pair_ends(self._credential.ends_at, self._warning_days)
            return
        with decoration("The expiry of the API access token could not be read", self.log):
            try:
                expires = self._token_expiry(budget=0)
            except (TrifactaForbidden, TrifactaNotFound):
                return  # This server has no access tokens, or this user may not list them: nothing to report.
            now = datetime.fromtimestamp(self.clock.time(), UTC)
            if expires is not None and expires - now < timedelta(days=self._warning_days):
                self.log.warning(
                    "The API access token of connection %r for %s expires on %s UTC. Replace it before then, or "
                    "let TrifactaRotateApiAccessTokenOperator do it",
                    self.trifacta_conn_id,
                    client.settings.base_url,
                    f"{expires.astimezone(UTC):%Y-%m-%d %H:%M}",
                )

    def _warn_before_pair_ends(self, ends_at: datetime | None, days: float) -> None:
        now = datetime.fromtimestamp(self.clock.time(), UTC)
        if days and ends_at is not None and ends_at - now < timedelta(days=days):
            self.log.warning(
                "The refresh token of connection %r ends on %s UTC. Generate a new pair on the page 'OAuth 2.0 "
                "API Tokens' before that, and paste its refresh token in place of what is stored",
                self.trifacta_conn_id,
                f"{ends_at.astimezone(UTC):%Y-%m-%d %H:%M}",
            )

    async def async_read_token(self) -> str:
        """Return the API access token, read from where it is kept without blocking the event loop.

        :raises TrifactaTokenUnreadable: it could not be read, see :meth:`read_token`.
        """

        async def read() -> str:
            return await self._read_in_thread(await self._async_connection())

        return await self._async_patiently(read)

    async def _read_in_thread(self, connection: AirflowConnection) -> str:
        # Variables and custom stores are read synchronously.
        return await sync_to_async(read_token)(connection, held=self._variables_with_token)

    def _patiently(self, read: Callable[[], T]) -> T:
        """Read the token, or what is needed to find it, and retry after failures that may pass."""
        patience = self._patience()
        while True:
            try:
                found = read()
            except Exception as error:
                pause = patience.pause_after(error)
            else:
                self._token_was_read = True
                return found
            self.sleep(pause)

    async def _async_patiently(self, read: Callable[[], Awaitable[T]]) -> T:
        patience = self._patience()
        while True:
            try:
                return await read()
            except Exception as error:
                pause = patience.pause_after(error)
            await self.clock.async_sleep(pause)

    def max_starts_per_minute(self, operation: str) -> float | None:
        """Return how many runs the connection lets an operation start per minute, None if it does not specify it.

        :param operation: ``run_job_group``, ``run_flow`` or ``run_plan``.
        """
        self.get_conn()
        return self._starts_per_minute.get(operation)

    def check_interrupt(self) -> None:
        """Check whether to continue; raises what ``interrupt`` raises."""
        if self._interrupt is not None:
            self._interrupt()

    def sleep(self, seconds: float) -> None:
        """Block for a while, unless the hook is interrupted."""
        sleep_unless(self._interrupt, self.clock, seconds)

    def _patience(self) -> ReadingPatience:
        return ReadingPatience(
            self.trifacta_conn_id,
            self.retries,
            read_before=self._token_was_read,
            clock=self.clock,
            random_number=random.random,
            log=self.log,
        )

    async def _async_connection(self) -> AirflowConnection:
        try:
            connection: AirflowConnection = await get_connection_asynchronously(self, self.trifacta_conn_id)
        except AirflowNotFoundException:
            # In "dags test", Airflow 3.3 runs triggers where an asynchronous read finds nothing in the database.
            connection = await sync_to_async(self.get_connection)(self.trifacta_conn_id)
        return connection

    def _settings(self, connection: AirflowConnection) -> ClientSettings:
        for warning in unknown_extras(connection):
            self.log.warning("Connection %s: %s", connection.conn_id, warning)
        settings = settings_of(connection, user_agent=_user_agent())
        if self.retry_budget is not None:
            settings = replace(settings, retries=replace(settings.retries, budget=self.retry_budget))
        self.retries = settings.retries
        return settings

    def send(self, operation: Operation[T]) -> T:
        """Send an operation and return its result; retry it as the retry policy specifies.

        :raises TrifactaApiError: the last error, as itself.
        """
        return self.client.send(operation)

    def iterate(self, listing: Listing[T]) -> Iterator[T]:
        """Yield every object of a list, page by page."""
        return self.client.iterate(listing)

    def run(self, procedure: Procedure[T]) -> T:
        """Carry out a procedure and return its result."""
        return self.client.run(procedure)

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
        """Start a recipe exactly once, even if the answer is lost (``runJobGroup``, ``listJobLibrary``).

        For custom operators: the same protection that ``TrifactaRunJobGroupOperator`` has. ::

            submission = hook.submit_job_group(4711, execution_id=str(uuid5(NAMESPACE, "what this is for")))
            submission.run_id, submission.outcome  # 90210, "started" or "adopted"

        :param execution_id: ``x-execution-id``; a random one when None. If a retry of your task passes the same
            one, together with ``submitted_since``, it adopts the job group that was started before.
        :param submitted_since: the earliest time of a previous submit; None means that there was none.
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
        procedure = submit_once(
            launch,
            execution_id or str(uuid.uuid4()),
            since=epoch_milliseconds(submitted_since) / 1000 if submitted_since else self.clock.time(),
            sent_before=submitted_since is not None,
            retries=self.client.settings.retries,
            clock=self.clock,
            random_number=random.random,
            log=self.log,
        )
        return self.run(procedure)

    def get_job_group_pdf_results(
        self, job_group_id: Id, path: str | os.PathLike[str] | ObjectStoragePath
    ) -> Path | ObjectStoragePath:
        """Save the profile of a job group to a PDF file (``getJobGroupPdfResults``).

        The file appears only when it is complete. If the profile is not ready, this waits for it, within the retry
        budget.

        :param path: where to put the file, on this machine or in a storage that Airflow knows (``s3://...``).
            Missing folders are created.
        :return: the path of the file.
        :raises TrifactaConfigurationError: the path cannot be written; nothing was sent.
        :raises TrifactaApiError: there is no profile, or it could not be read.
        :raises TrifactaResultsNotSaved: it could not be written.
        """
        target = target_of("path", path)
        with naming("path", target):
            save(lambda file: self.client.get_job_group_pdf_results(job_group_id, file), target)
        return target

    # --------------------------------------------------------------------------------------------- Airflow's form

    def test_connection(self) -> tuple[bool, str]:
        """Read which user the token belongs to. Returns in bounded time; a failure says what to do."""
        without_effect: list[str] = []
        try:
            connection = self.get_connection(self.trifacta_conn_id)
            without_effect = unknown_extras(connection)
            works, said = True, self._who_it_connects(connection)
        except TrifactaNotFound as error:
            # Every server of the API has this route.
            error.hint = TrifactaAnswerNotUnderstood.hint
            works, said = False, str(error)
        except TrifactaError as error:
            # The form tests a connection under a generated name.
            works, said = False, str(error).removeprefix(name_of(self.trifacta_conn_id))
        except Exception as error:
            # The form shows what this returns, and hides exceptions.
            works, said = False, f"{type(error).__name__}: {error}"
        for warning in without_effect:
            said = f"{sentence(said)} {sentence(warning[0].upper() + warning[1:])}"
        return works, said

    def _who_it_connects(self, connection: AirflowConnection) -> str:
        """Return whose token a connection has, read from the server without much patience."""
        settings = self._settings(connection)
        settings = replace(
            settings,
            connect_timeout=min(settings.connect_timeout, _TEST_TIMEOUT),
            read_timeout=min(settings.read_timeout, _TEST_TIMEOUT),
            retries=replace(settings.retries, budget=min(settings.retries.budget, _TEST_TIMEOUT)),
        )
        oauth = _oauth_connection(connection, settings)
        token = read_token(connection) if oauth is None else oauth.access_token_for_test()
        with TrifactaClient(settings, token, clock=self.clock) as client:
            person = client.get_current_person()
        who = line(str(person.get("email") or person.get("name") or f"user {person['id']}"), 200)
        return f"Connected to {settings.base_url}. The token belongs to {who}."

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
            # The fields above cover everything that the extra may contain. Airflow 3 cannot hide it.
            "hidden_fields": [*HIDDEN_FIELDS, "extra"],
            "relabeling": RELABELING,
            "placeholders": PLACEHOLDERS,
        }


def _oauth_connection(connection: AirflowConnection, settings: ClientSettings) -> OAuthConnection | None:
    """Return the OAuth side of a connection, None if it uses an API access token."""
    oauth = oauth_of(connection)
    return None if oauth is None else OAuthConnection(connection, oauth, settings)


def _warning_days(connection: AirflowConnection) -> float:
    days: float = extra_of(connection).get("expiry_warning_days", DEFAULT_EXPIRY_WARNING_DAYS)
    return days


@functools.cache
def _user_agent() -> str:
    from airflow import __version__ as airflow_version

    return f"{default_user_agent()} airflow/{airflow_version}"
