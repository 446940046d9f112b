"""The kinds of runs by name, for what is stored or configured as a name."""

from __future__ import annotations

from collections.abc import Mapping

from airflow_provider_trifacta.api.runs.flow_run import FLOW_RUNS
from airflow_provider_trifacta.api.runs.job_group import JOB_GROUPS
from airflow_provider_trifacta.api.runs.kind import KindName, RunKind
from airflow_provider_trifacta.api.runs.plan_run import PLAN_RUNS

KINDS: Mapping[KindName, RunKind] = {kind.name: kind for kind in (JOB_GROUPS, FLOW_RUNS, PLAN_RUNS)}
