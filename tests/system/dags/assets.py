"""Tasks that emit asset events, and a DAG that starts from one of them."""

from datetime import datetime

try:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG, Asset, AssetAlias
except ImportError:  # Airflow 2
    from airflow import DAG
    from airflow.datasets import Dataset as Asset
    from airflow.datasets import DatasetAlias as AssetAlias
    from airflow.operators.empty import EmptyOperator

from airflow_provider_trifacta.operators.flow import TrifactaRunFlowOperator
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

#: A recipe that writes a file and a table, in the test.
PUBLISHES = 10

with DAG(
    dag_id="emits_assets",
    schedule=None,
    start_date=datetime(2024, 1, 1),
    catchup=False,
    # Airflow may fail a try that is resumed soon (apache/airflow 66374); the next one goes on with its run.
    default_args={"poll_interval": 1, "emit_output_assets": True, "retries": 2},
) as emits_assets:
    for mode in ("sync", "deferred"):
        TrifactaRunJobGroupOperator(
            task_id=mode,
            wrangled_dataset_id=PUBLISHES,
            deferrable=mode == "deferred",
            outlets=[Asset(f"s3://example-bucket/reports/{mode}")],
        )
    TrifactaRunJobGroupOperator.partial(task_id="mapped").expand(wrangled_dataset_id=[11])
    TrifactaRunFlowOperator(task_id="flow", flow_id=302, outlets=[AssetAlias("customers")])

with DAG(
    dag_id="starts_from_assets",
    schedule=[Asset("s3://example-bucket/reports/deferred"), AssetAlias("emits_assets/deferred")],
    start_date=datetime(2024, 1, 1),
    catchup=False,
) as starts_from_assets:
    EmptyOperator(task_id="nothing")
