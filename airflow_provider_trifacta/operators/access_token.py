"""Keeping the tokens of a connection valid: rotating API access tokens, refreshing OAuth 2.0 token pairs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.airflow_support.argument_names import SuggestsArgumentNames
from airflow_provider_trifacta.airflow_support.compat import AirflowSkipException, BaseOperator
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError

if TYPE_CHECKING:
    from airflow_provider_trifacta.airflow_support.compat import Context
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

#: A turn must be confirmed and used within a quarter of this, and the longest has to end within two minutes.
_SHORTEST, _LONGEST = timedelta(seconds=10), timedelta(seconds=90)


class TrifactaRotateApiAccessTokenOperator(SuggestsArgumentNames, BaseOperator):
    """Replace the API access token of a connection (``createApiAccessToken``, ``deleteApiAccessToken``).

    If the task is killed or fails at any step, the stored token still works. The token is replaced where it is
    kept: in the Variable or store named in the extra of the connection, otherwise in its password. Returns ids
    and the expiry, never a token value.

    :param lifetime_seconds: lifetime of the new token; -1 requests one that never expires, where the installation
        allows it (templated).
    :param description: description of the new token, for users; a mark is added (templated).
    :param rotate_when_remaining: rotate only when the current token expires within this time; None always
        rotates.
    :param keep_previous_for: how long the superseded token stays valid, for tasks that have just read it; a later
        run revokes it, or this one if zero. At most two tokens are alive, however often the token is rotated.
    :param revoke_others: whether the superseded token is revoked even when a user created it.
    :param skip_when_nothing_to_do: whether the task is skipped, rather than successful, when nothing is rotated.
    :param airflow_api_conn_id: the Airflow connection to Airflow's own REST API. Needed on Airflow 3 when the
        token is the password of the connection, which tasks cannot change (templated).
    :param trifacta_conn_id: the Airflow connection whose token is rotated (templated).
    """

    template_fields: Sequence[str] = (
        "lifetime_seconds",
        "description",
        "airflow_api_conn_id",
        "trifacta_conn_id",
    )
    ui_color = "#fdf3d7"

    def __init__(
        self,
        *,
        lifetime_seconds: int | str,
        description: str = "Airflow",
        rotate_when_remaining: timedelta | None = None,
        keep_previous_for: timedelta = timedelta(hours=1),
        revoke_others: bool = False,
        skip_when_nothing_to_do: bool = False,
        airflow_api_conn_id: str | None = None,
        trifacta_conn_id: str = "trifacta_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.lifetime_seconds = lifetime_seconds
        self.description = description
        self.rotate_when_remaining = _check_timedelta("rotate_when_remaining", rotate_when_remaining)
        self.keep_previous_for = _check_timedelta("keep_previous_for", keep_previous_for) or timedelta(0)
        self.revoke_others = revoke_others
        self.skip_when_nothing_to_do = skip_when_nothing_to_do
        self.airflow_api_conn_id = airflow_api_conn_id
        self.trifacta_conn_id = trifacta_conn_id
        if not isinstance(lifetime_seconds, str):
            self._lifetime()

    def execute(self, context: Context) -> dict[str, Any]:
        """Rotate the token if necessary."""
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
        from airflow_provider_trifacta.tokens.rotation import TokenRotation

        log_without_stack()
        lifetime = self._lifetime()
        hook = self._hook()
        rotation = TokenRotation(
            hook,
            hook.token_store(airflow_api_conn_id=self.airflow_api_conn_id),
            lifetime=lifetime,
            description=self.description,
            keep_previous_for=self.keep_previous_for,
            revoke_others=self.revoke_others,
            log=self.log,
        )
        result = rotation.run(rotate_when_remaining=self.rotate_when_remaining)
        if not result.rotated and self.skip_when_nothing_to_do:
            raise AirflowSkipException(f"Token {result.token_id} is valid for long enough: nothing to do")
        return result.as_xcom()

    def _hook(self) -> TrifactaHook:
        from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

        return TrifactaHook(self.trifacta_conn_id)

    def _lifetime(self) -> int:
        try:
            if isinstance(self.lifetime_seconds, (bool, float)):
                raise ValueError
            lifetime = int(self.lifetime_seconds)
        except (TypeError, ValueError):
            raise TrifactaConfigurationError(
                f"lifetime_seconds: {self.lifetime_seconds!r} is not a whole number of seconds"
            ) from None
        if lifetime != -1 and lifetime <= 0:
            raise TrifactaConfigurationError(f"lifetime_seconds: {lifetime} is neither -1 nor positive")
        for name in ("keep_previous_for", "rotate_when_remaining"):
            span = getattr(self, name)
            if lifetime != -1 and span is not None and lifetime <= span.total_seconds():
                raise TrifactaConfigurationError(
                    f"lifetime_seconds: {lifetime} is not longer than {name} ({span.total_seconds():.0f} s)"
                )
        return lifetime


class TrifactaRefreshOAuthTokenOperator(SuggestsArgumentNames, BaseOperator):
    """Refresh the OAuth 2.0 token pair of a connection, as Alteryx One needs it.

    Run it in a DAG of its own every two minutes, with ``max_active_runs=1`` and ``catchup=False``: an access token
    lives for five. Each run refreshes. The pair is replaced in the Variable or store named in the extra of the
    connection, where a user has pasted the refresh token. If the task is killed or suspended at any step, the
    stored pair still works, or the next run reports what happened; two tasks never use the same refresh token.
    Ends within two minutes, unless it holds a new pair that cannot be stored. Returns when access token and
    refresh token expire, never a token.

    :param take_over_after: how long another task that refreshes the same pair may make no progress before this one
        takes over, from 10 to 90 seconds.
    :param trifacta_conn_id: the Airflow connection whose pair is refreshed (templated).
    """

    template_fields: Sequence[str] = ("trifacta_conn_id",)
    ui_color = "#fdf3d7"

    def __init__(
        self,
        *,
        take_over_after: timedelta = timedelta(seconds=60),
        trifacta_conn_id: str = "trifacta_default",
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if not isinstance(take_over_after, timedelta) or not _SHORTEST <= take_over_after <= _LONGEST:
            raise TrifactaConfigurationError(
                f"take_over_after: {take_over_after!r} is not between {_SHORTEST.seconds} and {_LONGEST.seconds} "
                "seconds"
            )
        self.take_over_after = take_over_after
        self.trifacta_conn_id = trifacta_conn_id

    def execute(self, context: Context) -> dict[str, Any]:
        """Refresh the pair, or see that another task has."""
        from airflow_provider_trifacta.airflow_support.log_without_stack import log_without_stack
        from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

        log_without_stack()
        ti = context["ti"]
        result = TrifactaHook(self.trifacta_conn_id).refresh_oauth_token(
            by=f"{ti.dag_id}.{ti.task_id} {ti.run_id}",
            take_over_after=self.take_over_after.total_seconds(),
        )
        return result.as_xcom()


def _check_timedelta(name: str, value: Any) -> timedelta | None:
    if value is not None and not (isinstance(value, timedelta) and value >= timedelta(0)):
        raise TrifactaConfigurationError(f"{name}: {value!r} is not a timedelta of zero or more")
    return value
