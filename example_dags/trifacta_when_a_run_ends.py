"""When somebody runs recipe 7 in the application, load what it wrote. Needs Airflow 3.0 or later."""

from __future__ import annotations

import logging
import os
from datetime import datetime
from importlib.metadata import version

log = logging.getLogger(__name__)

RECIPE = os.environ.get("TRIFACTA_RECIPE", "7")

if not version("apache-airflow").startswith("2."):
    from airflow.sdk import DAG, Asset, AssetWatcher, task

    from airflow_provider_trifacta.triggers.events import TrifactaRunFinishedTrigger

    orders = Asset(
        "orders",
        watchers=[
            AssetWatcher(
                name="recipe_in_the_application",
                trigger=TrifactaRunFinishedTrigger(recipe_id=RECIPE, ran_from="ui"),
            )
        ],
    )

    with DAG(
        dag_id="trifacta_when_a_run_ends",
        schedule=[orders],
        start_date=datetime(2024, 1, 1),
        catchup=False,
        is_paused_upon_creation=True,  # the recipe is watched from the moment the DAG is unpaused
        tags=["trifacta"],
    ) as dag:

        @task
        def load(triggering_asset_events=None):
            from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

            hook = TrifactaHook()
            for event in triggering_asset_events[orders]:
                run = event.extra["payload"]
                for file in hook.get_job_group_outputs(run["id"])["files"]:
                    log.info("Loading %s, written by %s", file["uri"], run["link"])

        load()
