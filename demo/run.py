"""Run an example DAG in a real Airflow against the emulator, and report what happened."""

from __future__ import annotations

import sys
import time
from importlib.metadata import version
from pathlib import Path

from airflow_instance import AirflowInstance

from airflow_provider_trifacta.emulator import Emulator

ROOT = Path(__file__).parent.parent
DAG_ID = "trifacta_run_and_wait"


def main() -> int:
    """Run the demo. Return 0 if everything was as expected."""
    began = time.monotonic()

    def say(text: str) -> None:
        print(f"{time.monotonic() - began:6.1f} s  {text}", flush=True)

    airflow = AirflowInstance(ROOT / ".demo" / f"airflow-{version('apache-airflow')}", ROOT / "example_dags")
    run_id = f"demo-{int(time.time())}"
    problems = []
    with Emulator(pace="seconds=6") as emulator:
        try:
            say(f"emulator at {emulator.url}; starting Airflow {version('apache-airflow')} ...")
            airflow.start(say)
            airflow.set_connection(
                "trifacta_default", conn_type="trifacta", host=emulator.url, password=emulator.token
            )
            airflow.trigger(DAG_ID, run_id)
            say(f"triggered DAG {DAG_ID}")
            seen: dict[str, object] = {}
            while True:
                now: dict[str, object] = {
                    f"task {task}": state for task, state in airflow.task_states(DAG_ID, run_id).items()
                }
                now |= {f"job group {row['id']}": row["status"] for row in emulator.job_groups}
                for what, state in now.items():
                    if state is not None and seen.get(what) != state:
                        say(f"{what}: {state}")
                seen = now
                state = airflow.run_state(DAG_ID, run_id)
                if state in ("success", "failed"):
                    break
                if time.monotonic() - began > 240 or airflow.dead_components():
                    problems.append(f"the run did not end; components that died: {airflow.dead_components()}")
                    break
                time.sleep(0.3)
            xcoms = airflow.xcoms(DAG_ID, run_id)
            groups = emulator.job_groups
            if state != "success":
                problems.append(f"the DAG run is {state}, expected success")
            if [row["status"] for row in groups] != ["Complete"]:
                problems.append(f"expected one job group, Complete; got {[row['status'] for row in groups]}")
            elif xcoms.get(("run_recipe", "return_value")) != groups[0]["id"]:
                problems.append(f"the task did not return the job group id: {xcoms}")
            if not any(entry.operation == "getJobGroupStatus" for entry in emulator.journal):
                problems.append("the status was never polled")
            for row in groups:
                say(f"outputs: {', '.join(row['_files'])}")
            say(f"link: {xcoms.get(('run_recipe', '_link_TrifactaJobGroupLink'))}")
        finally:
            airflow.stop()
    if problems:
        say("NOT as expected:\n  " + "\n  ".join(problems))
        say(f"task log:\n{airflow.task_log(DAG_ID, run_id)}")
        return 1
    say("as expected: one job group, polled in the triggerer, Complete")
    return 0


if __name__ == "__main__":
    sys.exit(main())
