"""A watcher that reads the list every second, and with it the watcher of the example."""

from datetime import datetime
from importlib.metadata import version

if not version("apache-airflow").startswith("2."):
    from airflow.sdk import DAG, Asset, AssetWatcher, task

    from airflow_provider_trifacta.triggers.events import TrifactaRunFinishedTrigger

    failures = Asset(
        "failed_flow_runs",
        watchers=[
            AssetWatcher(
                name="flow",
                trigger=TrifactaRunFinishedTrigger(flow_id=304, statuses=["Failed", "Canceled"], poll_interval=1),
            )
        ],
    )

    with DAG(
        "flow_run_failed", schedule=[failures], start_date=datetime(2024, 1, 1), is_paused_upon_creation=True
    ):

        @task
        def report(triggering_asset_events=None):
            return [event.extra["payload"] for event in triggering_asset_events[failures]]

        report()
