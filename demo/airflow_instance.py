"""A separate, real Airflow in a folder: scheduler, triggerer and API server, until stopped."""

from __future__ import annotations

import contextlib
import functools
import json
import os
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

from databases import Database, Rows, SqliteDatabase

IS_AIRFLOW_3 = not version("apache-airflow").startswith("2.")


class Component(NamedTuple):
    """One of the processes that an Airflow consists of.

    :param name: the name that its log has, too.
    :param command: the arguments of ``airflow``.
    :param settings: further environment variables.
    """

    name: str
    command: tuple[str, ...]
    settings: Mapping[str, str] = {}


class AirflowInstance:
    """Runs the Airflow that is installed in the current Python environment.

    :param home: the folder for its database and logs; kept, so that a second start is faster.
    :param dags: the folder of the DAG files.
    :param with_ui: whether Airflow 2 starts its webserver; Airflow 3 has the UI in its API server.
    :param settings: further environment variables.
    :param database: where it keeps its state; None means a file in ``home``.
    :param components: what it consists of; None means one of each.
    """

    def __init__(
        self,
        home: Path,
        dags: Path,
        *,
        with_ui: bool = False,
        settings: Mapping[str, str] | None = None,
        database: Database | None = None,
        components: Iterable[Component] | None = None,
    ) -> None:
        self.home = home.resolve()
        self.port = free_port()
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        self._with_ui = with_ui
        self.database = database or SqliteDatabase(self.home / "airflow.db")
        components = _one_of_each(with_ui=with_ui) if components is None else components
        self._components = {component.name: component for component in components}
        self.url = f"http://127.0.0.1:{self.port}"
        #: Login and password of an administrator, for Airflow's REST API.
        self.admin = {"login": "admin", "password": secrets.token_hex(16)}
        self._environment = {
            # Without the configuration of another Airflow.
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            "AIRFLOW_HOME": str(self.home),
            "AIRFLOW__CORE__DAGS_FOLDER": str(dags.resolve()),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "AIRFLOW__CORE__TEST_CONNECTION": "Enabled",
            "AIRFLOW__CORE__PARALLELISM": "4",
            "AIRFLOW__CORE__FERNET_KEY": "MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDA=",
            "AIRFLOW__CORE__EXECUTOR": "LocalExecutor" if IS_AIRFLOW_3 else "SequentialExecutor",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin",
            "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(self.home / "passwords.json"),
            "AIRFLOW__CORE__EXECUTION_API_SERVER_URL": f"{self.url}/execution/",
            "AIRFLOW__API__HOST": "127.0.0.1",
            "AIRFLOW__API__PORT": str(self.port),
            "AIRFLOW__API__BASE_URL": self.url,
            "AIRFLOW__API__WORKERS": "1",
            "AIRFLOW__API__SECRET_KEY": secrets.token_hex(16),
            "AIRFLOW__API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "AIRFLOW__WEBSERVER__WEB_SERVER_HOST": "127.0.0.1",
            "AIRFLOW__WEBSERVER__WEB_SERVER_PORT": str(self.port),
            "AIRFLOW__WEBSERVER__WORKERS": "1",
            "AIRFLOW__SCHEDULER__SCHEDULER_IDLE_SLEEP_TIME": "0.3",
            # Its scheduler has little to do, and its job groups are short.
            "AIRFLOW__TRIFACTA__MIN_DEFERRAL_SECONDS": "5",
            "AIRFLOW__SCHEDULER__ENABLE_HEALTH_CHECK": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": self.database.url,
            "AIRFLOW__LOGGING__BASE_LOG_FOLDER": str(self.home / "logs"),
            "AIRFLOW__USAGE_DATA_COLLECTION__ENABLED": "False",
            "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}",
            "PYTHONWARNINGS": "ignore",
            **(settings or {}),
        }

    # -------------------------------------------------------------------------------------------- start and stop

    def start(self, say: Callable[[str], object] = lambda text: None) -> None:
        """Start everything; returns once the UI or API answers.

        :param say: receives a message about each step, since this takes most of a minute.
        """
        say("creating Airflow's database")
        self.home.mkdir(parents=True, exist_ok=True)
        passwords = {self.admin["login"]: self.admin["password"]}
        (self.home / "passwords.json").write_text(json.dumps(passwords))
        self.airflow("db", "migrate")
        self.database.prepare()
        if not IS_AIRFLOW_3 and self._with_ui:
            self.airflow(
                *("users", "create", "--username", "admin", "--password", "admin", "--role", "Admin"),
                *("--firstname", "A", "--lastname", "D", "--email", "admin@example.com"),
            )
        say(f"starting {', '.join(self._components)}")
        for name in self._components:
            self.start_component(name)
        if IS_AIRFLOW_3 or self._with_ui:
            say(f"waiting for {self.url}")
            path = "/api/v2/version" if IS_AIRFLOW_3 else "/health"
            wait_for(lambda: self._answers(path), f"no answer from {self.url}", seconds=120)

    def start_component(self, name: str) -> None:
        """Start one component, e.g. ``triggerer``, which must not be running."""
        assert name not in self._processes
        component = self._components[name]
        with (self.home / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                [sys.executable, "-m", "airflow", *component.command],
                env={**self._environment, **component.settings},
                stdout=log,
                stderr=subprocess.STDOUT,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def stop_component(self, name: str, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop one component and its child processes."""
        process = self._processes.pop(name)
        try:
            os.killpg(process.pid, number)
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        except ProcessLookupError:
            pass
        finally:
            _kill_session(process.pid)

    def stop(self) -> None:
        """Stop everything that was started."""
        for process in self._processes.values():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        for name in list(self._processes):
            self.stop_component(name)

    def dead_components(self) -> list[str]:
        """Return the components that have exited on their own."""
        return [name for name, process in self._processes.items() if process.poll() is not None]

    def processes(self, name: str) -> list[int]:
        """Return the ids of all processes of a component."""
        return _session(self._processes[name].pid)

    def airflow(self, *arguments: str) -> str:
        """Run an ``airflow`` command and return its output."""
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            env=self._environment,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=180,
        )
        if done.returncode:
            raise RuntimeError(f"airflow {' '.join(arguments[:3])} failed:\n{done.stdout}\n{done.stderr}")
        return done.stdout

    def _answers(self, path: str) -> bool:
        try:
            with urllib.request.urlopen(f"{self.url}{path}", timeout=2) as response:
                return response.status == 200
        except OSError:
            return False

    # ---------------------------------------------------------------------------------------------- using it

    def set_connection(self, conn_id: str, **fields: object) -> None:
        """Store a connection in the database, replacing an existing one."""
        self.airflow("connections", "delete", conn_id) if self.rows(
            "select 1 from connection where conn_id = ?", conn_id
        ) else None
        self.airflow("connections", "add", conn_id, "--conn-json", json.dumps(fields))

    def trigger(self, dag_id: str, run_id: str, conf: Mapping[str, object] | None = None) -> None:
        """Start a run of a DAG, once Airflow knows the DAG."""
        known = "select 1 from serialized_dag where dag_id = ?"
        wait_for(lambda: self.rows(known, dag_id), f"DAG {dag_id} was not found", seconds=90)
        if IS_AIRFLOW_3:
            body = {"dag_run_id": run_id, "logical_date": None, "conf": conf or {}}
            self.api("POST", f"/api/v2/dags/{dag_id}/dagRuns", body)
        else:
            self.airflow("dags", "trigger", dag_id, "--run-id", run_id, "--conf", json.dumps(conf or {}))

    def api(self, method: str, path: str, body: object = None, *, headers: Mapping[str, str] | None = None) -> Any:
        """Call the public REST API of Airflow 3 as an administrator, and return the decoded answer.

        :raises urllib.error.HTTPError: the answer is not a success.
        """
        with urllib.request.urlopen(f"{self.url}/auth/token", timeout=30) as response:
            token = json.loads(response.read())["access_token"]
        request = urllib.request.Request(
            f"{self.url}{path}",
            None if body is None else json.dumps(body).encode(),
            {"Content-Type": "application/json", "Authorization": f"Bearer {token}", **(headers or {})},
            method=method,
        )
        with urllib.request.urlopen(request, timeout=30) as response:
            return json.loads(response.read())

    def run_state(self, dag_id: str, run_id: str) -> str | None:
        """Return the state of a run."""
        rows = self.rows("select state from dag_run where dag_id = ? and run_id = ?", dag_id, run_id)
        return rows[0][0] if rows else None

    def end_of(self, dag_id: str, run_id: str, *, seconds: float = 120) -> str:
        """Wait until a run has ended, and return its state.

        :raises TimeoutError: it did not end in time; names the components that have exited.
        """
        try:
            wait_for(lambda: self.run_state(dag_id, run_id) in ("success", "failed"), "", seconds=seconds)
        except TimeoutError:
            dead = self.dead_components()
            raise TimeoutError(f"{dag_id} did not end; components that died: {dead}") from None
        return str(self.run_state(dag_id, run_id))

    def task_states(self, dag_id: str, run_id: str) -> dict[str, str | None]:
        """Return the states of the tasks of a run; items of a mapped task have their index after the name."""
        rows = self.rows(
            f"select task_id, {self._map_index}, state from task_instance where dag_id = ? and run_id = ?",
            dag_id,
            run_id,
        )
        return {task if index < 0 else f"{task}[{index}]": state for task, index, state in rows}

    def try_numbers(self, dag_id: str, run_id: str) -> dict[str, int]:
        """Return how often each task of a run was tried."""
        rows = self.rows(
            "select task_id, try_number from task_instance where dag_id = ? and run_id = ?", dag_id, run_id
        )
        return dict(rows)  # type: ignore[arg-type]

    def xcoms(self, dag_id: str, run_id: str) -> dict[tuple[str, str], object]:
        """Return the XComs of a run by task and key."""
        table = "xcom"
        if self._map_index == "region_index":
            table = "xcom_v2 join task_instance on task_instance.id = task_instance_id"
        rows = self.rows(
            f"select task_id, key, value from {table} where dag_id = ? and run_id = ?", dag_id, run_id
        )
        return {(task, key): _decoded(value) for task, key, value in rows}

    def task_log(self, dag_id: str, run_id: str) -> str:
        """Return the logs of all tasks of a run."""
        folder = self.home / "logs" / f"dag_id={dag_id}" / f"run_id={run_id}"
        return "\n".join(file.read_text("utf-8", "replace") for file in sorted(folder.rglob("*.log*")))

    def connection(self, conn_id: str) -> dict[str, Any]:
        """Return a connection as stored, with secrets unmasked."""
        file = self.home / "exported.json"
        self.airflow("connections", "export", str(file), "--file-format", "json")
        try:
            return dict(json.loads(file.read_text())[conn_id])
        finally:
            file.unlink()

    @functools.cached_property
    def _map_index(self) -> str:
        """The column with the index of a mapped task's items; Airflow 3.4 has another name for it."""
        columns = self.database.columns("task_instance")
        return "map_index" if "map_index" in columns else "region_index"

    def rows(self, query: str, *parameters: object) -> Rows:
        """Query Airflow's database; ``?`` stands for a parameter."""
        return self.database.rows(query, *parameters)


def _one_of_each(*, with_ui: bool) -> list[Component]:
    """Return the components of a small Airflow."""
    names = ["scheduler", "triggerer"]
    if IS_AIRFLOW_3:
        names += ["api-server", "dag-processor"]
    elif with_ui:
        names += ["webserver"]
    return [Component(name, (name,)) for name in names]


def _session(leader: int) -> list[int]:
    """Return the processes of a session."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(int(folder.name)) == leader:
                found.append(int(folder.name))
    return found


def _kill_session(leader: int) -> None:
    """Kill what a component left running: the scheduler of Airflow 2 has a child in another process group."""
    for process in _session(leader):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(process, signal.SIGKILL)


def _decoded(value: object) -> object:
    for _ in range(2):  # stored as JSON, in some versions as JSON of JSON
        if isinstance(value, (str, bytes)):
            try:
                value = json.loads(value)
            except ValueError:
                break
    return value


def free_port() -> int:
    """Return a port that nothing listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(condition: Callable[[], object], otherwise: str, *, seconds: float, every: float = 0.3) -> None:
    """Wait until a condition holds.

    :raises TimeoutError: with the message ``otherwise``, if it does not hold in time.
    """
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise TimeoutError(otherwise)
        time.sleep(every)
