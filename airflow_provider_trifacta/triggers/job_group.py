"""Waiting for a job group in the triggerer."""

from __future__ import annotations

from typing import Any

from airflow_provider_trifacta.api.runs.job_group import JOB_GROUPS
from airflow_provider_trifacta.api.runs.kind import RunRef
from airflow_provider_trifacta.triggers.run import RunTrigger


class TrifactaJobGroupTrigger(RunTrigger):
    """Waits until a job group ends, and never starts one.

    :param job_group_id: the job group.
    :param options: see :class:`~airflow_provider_trifacta.triggers.run.RunTrigger`.
    """

    def __init__(self, job_group_id: int | str = "", **options: Any) -> None:
        super().__init__(JOB_GROUPS, RunRef(job_group_id), **options)
        self.job_group_id = job_group_id
