"""Tasks whose process is killed with -9 in their first try, at a point of their life."""

import os
import signal
from datetime import datetime, timedelta

from airflow import DAG

from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator
from airflow_provider_trifacta.tasks.notes import AuditLogNotes, TaskStateNotes

POINTS = ["before_submit", "before_note", "after_note", "mid_poll", "after_last_poll"]


class MortalOperator(TrifactaRunJobGroupOperator):
    """Dies at a point.

    :param with_supervisor: the process that watches over the task dies too, as when a machine is lost.
    """

    def __init__(self, *, dies: str, with_supervisor: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.dies = dies
        self.with_supervisor = with_supervisor

    def execute(self, context):
        self._arm(context)
        return super().execute(context)

    def execute_complete(self, context, event=None, **kwargs):
        self._arm(context)
        returned = super().execute_complete(context, event, **kwargs)
        self._die_at("after_last_poll")
        return returned

    def _die_at(self, point):
        if self.mortal and self.dies == point:
            if self.with_supervisor:
                os.kill(os.getppid(), signal.SIGKILL)
            os.kill(os.getpid(), signal.SIGKILL)

    def _arm(self, context):
        self.mortal = context["ti"].try_number == 1
        transfer = TrifactaClient._transfer
        reads = []

        def transferred(client, step):
            request = step.request
            submits = request.method == "POST" and request.path == "/v4/jobGroups"
            if submits:
                self._die_at("before_submit")
            if request.path.endswith("/outputs"):
                self._die_at("after_last_poll")
            answer = transfer(client, step)
            if submits:
                self._die_at("before_note")
            if request.path.endswith("/status"):
                reads.append(request)
                if len(reads) == 2:
                    self._die_at("mid_poll")
            return answer

        TrifactaClient._transfer = transferred
        for notes in (TaskStateNotes, AuditLogNotes):
            write = notes.write

            def written(kept, note, write=write):
                write(kept, note)
                if note.run_id is not None:
                    self._die_at("after_note")

            notes.write = written


for mode in ("sync", "deferred"):
    for point in POINTS:
        for lost in (False, True):
            if mode == "deferred" and point == "mid_poll":
                continue  # nothing of the task runs then
            name = f"killed_{point}_{mode}{'_with_supervisor' if lost else ''}"
            with DAG(dag_id=name, schedule=None, start_date=datetime(2024, 1, 1), catchup=False) as dag:
                MortalOperator(
                    task_id="run",
                    wrangled_dataset_id="{{ dag_run.conf['recipe'] }}",
                    dies=point,
                    with_supervisor=lost,
                    deferrable=mode == "deferred",
                    poll_interval=1,
                    retries=5,
                    retry_delay=timedelta(seconds=1),
                )
            globals()[name] = dag
