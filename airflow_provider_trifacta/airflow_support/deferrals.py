"""How old a deferral must be before its trigger may resume the task.

Airflow's scheduler fails a task whose trigger fires before the scheduler has read the executor's report that the
process which deferred has ended: it takes the report for that of the next process (apache/airflow 66374, 67287,
71580, 72716; open in 3.3.2). How long it takes to read the report depends on how loaded the scheduler is.
"""

from __future__ import annotations

from typing import Any

#: The option of ``airflow.cfg``.
SECTION, OPTION = "trifacta", "min_deferral_seconds"
#: Reports were read up to 27 s late on a machine with all its processors busy.
DEFAULT_MIN_DEFERRAL = 30.0
#: More would only delay tasks.
_LONGEST = 600.0


def min_deferral(log: Any) -> float:
    """Return how many seconds a deferral lasts at least; 0 means that a task is resumed at once.

    :param log: where to warn about a value that cannot be used; the default applies then.
    """
    # Not above: Airflow imports this module while it reads its configuration.
    from airflow_provider_trifacta.airflow_support.compat import conf

    try:
        seconds = float(conf.get(SECTION, OPTION, fallback=str(DEFAULT_MIN_DEFERRAL)))
    except Exception as error:
        log.warning("[%s] %s cannot be read (%s): using %.0f", SECTION, OPTION, error, DEFAULT_MIN_DEFERRAL)
        return DEFAULT_MIN_DEFERRAL
    if 0 <= seconds <= _LONGEST:
        return seconds
    log.warning(
        "[%s] %s must be from 0 to %.0f, not %s: using %.0f",
        SECTION,
        OPTION,
        _LONGEST,
        seconds,
        DEFAULT_MIN_DEFERRAL,
    )
    return DEFAULT_MIN_DEFERRAL


def too_young_for(began: float, now: float, *, deadline: float | None, log: Any) -> float:
    """Return for how many more seconds a deferral is too young for its task to be resumed; 0 if it is old enough.

    :param began: when the task was deferred, in seconds since the epoch on a clock that may differ from ours.
    :param deadline: when the task must have ended, likewise: it needs time for that, so at most half of what is
        left is taken.
    """
    shortest = min_deferral(log)
    seconds = min(shortest, began + shortest - now)
    return max(0.0, seconds if deadline is None else min(seconds, (deadline - now) / 2))
