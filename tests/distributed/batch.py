"""Many tasks at a time, each of which runs a recipe of its own."""

from __future__ import annotations

from collections import Counter
from typing import Any

from airflow_instance import AirflowInstance, wait_for
from databases import PostgresDatabase
from distribution import TRIGGERERS
from support import new_recipe

from airflow_provider_trifacta.emulator import Emulator


class Batch:
    """A run of ``run_sync``, of ``run_deferred``, or of both.

    :param name: the id of the runs.
    :param sync: the number of tasks that wait in a worker.
    :param deferred: the number of tasks that wait in a triggerer.
    :param conn_id: the connection of all tasks.
    """

    def __init__(
        self,
        airflow: AirflowInstance,
        emulator: Emulator,
        name: str,
        *,
        sync: int = 0,
        deferred: int = 0,
        conn_id: str = "trifacta_default",
    ) -> None:
        self.name = name
        self.deferred = deferred
        self._airflow = airflow
        self._emulator = emulator
        numbers = {"run_sync": sync, "run_deferred": deferred}
        self.recipes = {
            dag_id: [new_recipe(emulator) for _ in range(number)] for dag_id, number in numbers.items() if number
        }
        self._all_recipes = {recipe for recipes in self.recipes.values() for recipe in recipes}
        for dag_id, recipes in self.recipes.items():
            airflow.trigger(dag_id, name, {"recipes": recipes, "conn_id": conn_id})

    @property
    def size(self) -> int:
        """The number of tasks."""
        return len(self._all_recipes)

    @property
    def job_groups(self) -> list[dict[str, Any]]:
        """The job groups of all tasks, in their current state."""
        return [row for row in self._emulator.job_groups if row["wrangledDataset"]["id"] in self._all_recipes]

    def job_groups_of(self, dag_id: str) -> list[dict[str, Any]]:
        """Return the job groups of the tasks of one DAG."""
        return [row for row in self.job_groups if row["wrangledDataset"]["id"] in self.recipes[dag_id]]

    def started(self) -> bool:
        """Return whether every task has a job group."""
        return len(self.job_groups) == self.size

    def tasks(self, columns: str) -> list[Any]:
        """Return columns of all task instances."""
        query = f"select {columns} from task_instance where run_id = ? and task_id = 'run'"
        return self._airflow.rows(query, self.name)

    def hosts(self, state: str) -> Counter[str]:
        """Return how many tasks in a state each worker has, or had last."""
        return Counter(host for host, found in self.tasks("hostname, state") if found == state)

    def triggerers(self) -> Counter[str]:
        """Return how many deferred tasks each triggerer has."""
        rows = self._airflow.rows(
            "select job.hostname from task_instance ti join trigger on trigger.id = ti.trigger_id "
            "join job on job.id = triggerer_id where ti.run_id = ?",
            self.name,
        )
        return Counter(str(host) for (host,) in rows)

    def wait_until_all_wait(self) -> None:
        """Wait until each task has started its job group, and each deferred one is in a triggerer."""
        wait_for(self.started, f"not all tasks of {self.name} have started a job group", seconds=300)
        wait_for(
            lambda: sum(self.triggerers().values()) == self.deferred,
            f"not all tasks of {self.name} wait in a triggerer",
            seconds=120,
        )

    def read_in_triggerers(self) -> int:
        """Return how many job groups have been read in a triggerer."""
        logs = self._airflow.home.glob(f"logs/dag_id=run_deferred/run_id={self.name}/**/*.trigger.*.log")
        return len({log.parent for log in logs if "Job group" in log.read_text("utf-8", "replace")})

    def wait_in_both_triggerers(self) -> None:
        """Likewise, with deferred tasks in both triggerers."""
        self.wait_until_all_wait()
        self.spread_over_triggerers()
        assert set(self.triggerers()) == set(TRIGGERERS)

    def spread_over_triggerers(self) -> None:
        """Give half of the waits to a triggerer that has none: it is chance which of them takes a new one."""
        for empty in set(TRIGGERERS) - set(self.triggerers()):
            ((job,),) = self._airflow.rows("select max(id) from job where hostname = ?", empty)
            triggers = self._airflow.rows(
                "select trigger_id from task_instance where run_id = ? and state = 'deferred' "
                "order by map_index desc limit ?",
                self.name,
                self.triggerers().total() // 2,
            )
            database = self._airflow.database
            assert isinstance(database, PostgresDatabase)
            database.change("update trigger set triggerer_id = ? where id = ?", [(job, *row) for row in triggers])

    def assert_one_complete_job_group_each(self) -> None:
        """Wait until all tasks have ended, each of them green and with one job group, which is its result."""
        for dag_id in self.recipes:
            state = self._airflow.end_of(dag_id, self.name, seconds=400)
            assert state == "success", self._airflow.task_log(dag_id, self.name)
        found = {row["wrangledDataset"]["id"]: (row["id"], row["status"]) for row in self.job_groups}
        assert len(self.job_groups) == len(found) == self.size
        assert {status for _, status in found.values()} == {"Complete"}
        returned = self._airflow.rows(
            "select value from xcom where run_id = ? and task_id = 'run' and key = 'return_value'", self.name
        )
        assert sorted(int(str(value)) for (value,) in returned) == sorted(
            identity for identity, _ in found.values()
        )

    def assert_nothing_was_canceled(self) -> None:
        """Assert that nobody asked to cancel any of the job groups."""
        paths = {f"/v4/jobGroups/{row['id']}/cancel" for row in self.job_groups}
        assert not [entry for entry in self._emulator.journal if entry.path in paths]
