"""The token pair of an OAuth 2.0 connection: where it is kept, how it is read, and what refreshes it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Unpack, cast

from airflow_provider_trifacta.airflow_support.compat import mask_secret
from airflow_provider_trifacta.airflow_support.database import tasks_use_the_database
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.redaction import Redactor
from airflow_provider_trifacta.api.token_endpoint import TokenEndpoint
from airflow_provider_trifacta.connection import extra_of, name_of, of_connection, pair_kept_in
from airflow_provider_trifacta.exceptions import TrifactaRefreshError, TrifactaTokenUnreadable
from airflow_provider_trifacta.token_stores import (
    VariableClaimStore,
    VariableTokenStore,
    mask_proxy_passwords,
    store_of,
)
from airflow_provider_trifacta.tokens.oauth_pair import OAuthPair
from airflow_provider_trifacta.tokens.oauth_refresh import LONGEST_REFRESH, OAuthRefresh, RefreshResult
from airflow_provider_trifacta.tokens.turns import ClaimedTurn, ComparedTurn, Stored, Turn, TurnArguments

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.clock import Clock
    from airflow_provider_trifacta.api.logs import Log
    from airflow_provider_trifacta.api.settings import ClientSettings
    from airflow_provider_trifacta.connection import AirflowConnection, OAuthSettings
    from airflow_provider_trifacta.token_stores import ComparingTokenStore, TokenStore

#: Default of ``take_over_after``, in seconds.
TAKE_OVER_AFTER = 60.0


class OAuthConnection:
    """An Airflow connection that uses OAuth 2.0.

    :param connection: the Airflow connection.
    :param oauth: what it specifies for OAuth 2.0.
    :param settings: the client settings of the connection.
    :raises TrifactaConfigurationError: the pair cannot be kept where the connection specifies.
    """

    def __init__(self, connection: AirflowConnection, oauth: OAuthSettings, settings: ClientSettings) -> None:
        self.oauth = oauth
        self.conn_id = connection.conn_id
        #: Where a user finds the pair.
        self.where = pair_kept_in(extra_of(connection))
        self._connection = connection
        self._settings = settings
        self._redactor = Redactor()
        self._store: TokenStore = store_of(connection)
        mask_proxy_passwords(connection)

    @property
    def is_readable_without_airflow(self) -> bool:
        """Whether the pair can be read in a signal handler, which must not call Airflow.

        Variables cannot on Airflow 3, where the supervisor of the task reads them.
        """
        return tasks_use_the_database() or not isinstance(self._store, VariableTokenStore)

    def read(self, *, mask: bool = True) -> Stored:
        """Read the stored pair. From then on, its tokens are masked in logs.

        :param mask: False in signal handlers: masking calls Airflow.
        :raises TrifactaConfigurationError: what is stored is not a refresh token.
        :raises TrifactaTokenUnreadable: it could not be read.
        """
        try:
            text = self._store.read()
        except (TrifactaConfigurationError, TrifactaTokenUnreadable):
            raise
        except Exception as error:
            raise TrifactaTokenUnreadable.because_of(self.conn_id, self.where, error) from error
        try:
            pair = OAuthPair.read(text)
        except TrifactaConfigurationError as error:
            raise of_connection(self._connection, f"{self.where} {error}") from None
        for token in (pair.access_token, pair.refresh_token):
            self._redactor.add(token)
            if mask and token is not None:
                mask_secret(token)
        return Stored(text, pair)

    def access_token_for_test(self) -> str:
        """Return the stored access token as it is, for a connection test, which must not refresh it.

        :raises TrifactaConfigurationError: there is none; reports what to do.
        :raises TrifactaTokenUnreadable: it could not be read.
        """
        pair = self.read().pair
        if pair.access_token is None:
            raise of_connection(
                self._connection,
                f"{self.where} holds a refresh token that has not been used yet. Run the DAG with "
                "TrifactaRefreshOAuthTokenOperator once, then test again (a test never uses a refresh token)",
            )
        return pair.access_token

    def refresh(
        self,
        *,
        by: str,
        clock: Clock,
        log: Log,
        take_over_after: float = TAKE_OVER_AFTER,
        seen: OAuthPair | None = None,
    ) -> RefreshResult:
        """Refresh the pair, or see that somebody else has; ends within two minutes unless the store fails.

        :param by: which task refreshes, for users.
        :param take_over_after: seconds after which another task that makes no progress is replaced.
        :param seen: refresh only this pair, and not what has replaced it; None refreshes what is stored.
        :raises TrifactaRefreshError: see :meth:`OAuthRefresh.run`.
        """
        reason = self._store.why_not_writable()
        if reason is not None:
            raise TrifactaRefreshError(
                f"{name_of(self.conn_id)}{self.where}: a new pair could not be stored: {reason}. Nothing was spent"
            )
        deadline = clock.monotonic() + LONGEST_REFRESH
        shared: TurnArguments = {
            "read": self.read,
            "take_over_after": take_over_after,
            "deadline": deadline,
            "clock": clock,
            "log": log,
        }
        refresh = OAuthRefresh(
            self._turn(by, **shared),
            endpoint=TokenEndpoint(self.oauth.token_url, self.oauth.client_id, self._settings, clock),
            conn_id=self.conn_id,
            where=self.where,
            by=by,
            days=self.oauth.refresh_token_days,
            redactor=self._redactor,
            **shared,
        )
        return refresh.run(seen)

    def _turn(self, by: str, **shared: Unpack[TurnArguments]) -> Turn:
        if hasattr(self._store, "compare_and_write"):
            return ComparedTurn(cast("ComparingTokenStore", self._store), **shared)
        claim = VariableClaimStore(cast("VariableTokenStore", self._store).name)
        return ClaimedTurn(self._store, claim, by, **shared)
