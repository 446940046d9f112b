"""Tasks that do not simply succeed."""

from datetime import datetime, timedelta

from airflow import DAG

from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

for name, options in {
    "fails": {"wrangled_dataset_id": 8, "deferrable": True},
    "no_such_recipe": {"wrangled_dataset_id": 4712},
    "wrong_token": {"wrangled_dataset_id": 7, "trifacta_conn_id": "wrong_token"},
    "no_host": {"wrangled_dataset_id": 7, "trifacta_conn_id": "no_host"},
    "any_recipe_deferred": {"wrangled_dataset_id": "{{ dag_run.conf['recipe'] }}", "deferrable": True},
    "endless_deferred": {"wrangled_dataset_id": 9, "deferrable": True},
    "endless_cleared": {"wrangled_dataset_id": 9, "deferrable": True},
    "endless_sync": {"wrangled_dataset_id": 9},
    "deadline_sync": {"wrangled_dataset_id": 9, "execution_timeout": timedelta(seconds=4)},
    "deadline_deferred": {
        "wrangled_dataset_id": 9,
        "deferrable": True,
        "execution_timeout": timedelta(seconds=4),
    },
}.items():
    with DAG(dag_id=name, schedule=None, start_date=datetime(2024, 1, 1), catchup=False) as dag:
        TrifactaRunJobGroupOperator(task_id="run", poll_interval=1, **options)
    globals()[name] = dag

with DAG(dag_id="endless_many", schedule=None, start_date=datetime(2024, 1, 1), catchup=False) as endless_many:
    # So many share the polls of a list; with this interval, each reads its own run at first.
    TrifactaRunJobGroupOperator.partial(task_id="run", poll_interval=15, deferrable=True).expand(
        wrangled_dataset_id=[9] * 10
    )
