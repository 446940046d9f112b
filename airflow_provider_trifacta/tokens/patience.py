"""How long reading a token is retried."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.pace import backoff
from airflow_provider_trifacta.exceptions import TrifactaTokenUnreadable

if TYPE_CHECKING:
    from airflow_provider_trifacta.api.clock import Clock
    from airflow_provider_trifacta.api.logs import Log
    from airflow_provider_trifacta.api.retries import RetryPolicy


class ReadingPatience:
    """Decides whether a token that could not be read is read again, and when.

    :param conn_id: the Airflow connection, for the error.
    :param retries: how long to retry, and with which pauses.
    :param read_before: whether it has been read before. If so, the connection is known to be right, and every
        failure is retried; otherwise only failures that are known to be temporary.
    :param random_number: returns numbers in [0, 1), for jitter.
    """

    def __init__(
        self,
        conn_id: str,
        retries: RetryPolicy,
        *,
        read_before: bool,
        clock: Clock,
        random_number: Callable[[], float],
        log: Log,
    ) -> None:
        self._conn_id = conn_id
        self._retries = retries
        self._read_before = read_before
        self._clock = clock
        self._random = random_number
        self._log = log
        self._began = clock.monotonic()
        self._failures = 0

    def pause_after(self, error: Exception) -> float:
        """Return the seconds to wait before the token is read again.

        :raises Exception: the error, if reading again would not help.
        :raises TrifactaTokenUnreadable: the retry budget is used up.
        """
        if not self._may_pass(error):
            raise error
        if not isinstance(error, TrifactaTokenUnreadable):
            error = TrifactaTokenUnreadable.because_of(self._conn_id, "its store", error)
        pause = self._next_pause()
        if self._clock.monotonic() - self._began + pause > self._retries.budget:
            raise error
        self._log.warning("%s. Trying again in %.1f s", error.message, pause)
        return pause

    def _next_pause(self) -> float:
        self._failures += 1
        longest = backoff(self._retries.initial_wait, self._retries.max_wait, self._failures)
        return longest * (1 + self._random()) / 2

    def _may_pass(self, error: Exception) -> bool:
        if isinstance(error, TrifactaConfigurationError):
            return False
        return self._read_before or isinstance(error, TrifactaTokenUnreadable)
