"""Waits for the access token of an OAuth 2.0 connection: readers never refresh, and never judge by its expiry."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.procedures import Pause
from airflow_provider_trifacta.api.text import line, sentence
from airflow_provider_trifacta.api.timestamps import moment_after, spoken
from airflow_provider_trifacta.exceptions import (
    TrifactaOAuthPairLost,
    TrifactaRefreshRefused,
    TrifactaTokenNotRefreshed,
)
from airflow_provider_trifacta.tokens.oauth_pair import OAuthPair

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.clock import Clock
    from airflow_provider_trifacta.api.logs import Log

#: Seconds between two reads, before jitter.
_READ_INTERVAL = 1.0
#: Seconds of patience from which on a reader refreshes on demand: less would end in the middle of it.
_LEAST_FOR_REFRESH = 30.0


@dataclass(frozen=True)
class ReadPair:
    """Read the stored pair and return it."""


@dataclass(frozen=True)
class RefreshPair:
    """Refresh the stored pair, unless it has been replaced meanwhile.

    :param seen: the pair.
    """

    seen: OAuthPair


AccessTokenProcedure = Generator[ReadPair | RefreshPair | Pause, Any, OAuthPair]


def await_access_token(
    refused: str | None,
    *,
    patience: float,
    on_demand: bool,
    conn_id: str,
    where: str,
    clock: Clock,
    random_number: Callable[[], float],
    log: Log,
) -> AccessTokenProcedure:
    """Return the stored pair once it has another access token than the one that was refused.

    :param refused: the access token that the server refused; None if none was sent.
    :param patience: maximum seconds to wait.
    :param on_demand: whether to refresh the pair rather than wait for the task that does.
    :param where: where a user finds the pair.
    :raises TrifactaConfigurationError: what is stored is not a refresh token.
    :raises TrifactaOAuthPairLost: refreshed on demand: the refresh token no longer works.
    :raises TrifactaTokenNotRefreshed: there was none in time.
    """
    began = clock.monotonic()
    announced = False
    while True:
        try:
            pair: OAuthPair = yield ReadPair()
        except TrifactaConfigurationError:
            raise
        except Exception as error:
            state = line(str(error), 500)
        else:
            if pair.access_token is not None and pair.access_token != refused:
                return pair
            state = _state_of(pair, where)
            if on_demand and patience >= _LEAST_FOR_REFRESH:
                try:
                    yield RefreshPair(pair)
                    continue
                except (TrifactaConfigurationError, TrifactaOAuthPairLost, TrifactaRefreshRefused):
                    raise
                except Exception as error:
                    state = line(str(error), 500)
        waited = clock.monotonic() - began
        pause = _READ_INTERVAL * (0.75 + random_number() / 2)
        if waited + pause > patience:
            raise TrifactaTokenNotRefreshed(
                method="",
                path="",
                message=f"Airflow connection {conn_id!r}: no valid access token for {spoken(waited)}. "
                f"{state.rstrip('.')}",
            )
        if not announced:
            until = moment_after(clock.time(), patience)
            log.warning("%s Reading it again until %s, about every second", sentence(state), until)
            announced = True
        yield Pause(pause)


def _state_of(pair: OAuthPair, where: str) -> str:
    """Return a sentence about a pair without a usable access token."""
    if pair.access_token is None:
        text = f"The refresh token in {where} has not been used yet"
    else:
        text = f"The access token in {where} was refused"
        if pair.expires_at is not None:
            text += f"; it was valid until {pair.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        if pair.refreshed_at is not None:
            text += f", issued at {pair.refreshed_at:%H:%M:%S} UTC"
    if pair.unresolved is not None:
        text += f". A refresh {pair.unresolved} stored no new pair"
    return text
