"""Tasks that OpenLineage is told of, where it is installed: one that succeeds and one that fails, in each mode."""

from datetime import datetime

from airflow import DAG

from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

try:
    from airflow.providers.openlineage.utils.selective_enable import enable_lineage
except ImportError:
    pass
else:
    with DAG(dag_id="lineage", schedule=None, start_date=datetime(2024, 1, 1), catchup=False) as dag:
        for mode in ("sync", "deferred"):
            for end, recipe in (("complete", 7), ("fail", 8)):
                TrifactaRunJobGroupOperator(
                    task_id=f"{end}_{mode}",
                    wrangled_dataset_id=recipe,
                    poll_interval=1,
                    deferrable=mode == "deferred",
                    retries=1 if end == "complete" else 0,
                )
    enable_lineage(dag)
