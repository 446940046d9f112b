"""What several tests use."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import random
import signal
import socket
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypeVar

try:
    from airflow.sdk.exceptions import AirflowRescheduleException as AirflowRescheduleException
    from airflow.sdk.exceptions import TaskDeferred
except ImportError:  # Airflow 3.1 and earlier
    from airflow.exceptions import AirflowRescheduleException as AirflowRescheduleException
    from airflow.exceptions import TaskDeferred

from airflow_provider_trifacta.api.async_client import AsyncTrifactaClient
from airflow_provider_trifacta.api.client import TrifactaClient
from airflow_provider_trifacta.api.messages import Operation
from airflow_provider_trifacta.api.paging import Listing
from airflow_provider_trifacta.api.rate_limits import Quota
from airflow_provider_trifacta.api.retries import RetryPolicy
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.emulator import Emulator

T = TypeVar("T")
Answer = Callable[[str], tuple[int, dict[str, str], bytes]]


def json_answer(value: Any, status: int = 200) -> tuple[int, dict[str, str], bytes]:
    """Return an answer of a scripted server with a JSON body."""
    return status, {"content-type": "application/json"}, json.dumps(value).encode()


class ScriptedServer:
    """A server that answers whatever a test says."""

    def __init__(self, answer: Answer) -> None:
        self.requests: list[str] = []
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def respond(self) -> None:
                self.rfile.read(int(self.headers.get("content-length") or 0))
                scripted.requests.append(f"{self.command} {self.path}")
                status, headers, body = answer(self.path)
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = do_PATCH = do_DELETE = respond  # noqa: N815

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()


class RawServer:
    """A server that sends whatever bytes a test says.

    :param respond: is given the connection, once a whole request has been read from it, and that request; it
        sends what it likes. The connection is closed when it returns False.
    """

    def __init__(self, respond: Callable[[socket.socket, bytes], bool | None]) -> None:
        self.requests: list[bytes] = []
        self._respond = respond
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listening.getsockname()[1]}"
        self._connections: list[socket.socket] = []
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listening.accept()
                self._connections.append(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            stream = connection.makefile("rb")
            while True:
                request = b""
                while not request.endswith(b"\r\n\r\n"):
                    line = stream.readline()
                    if not line:
                        return
                    request += line
                for header in request.splitlines():
                    if header.lower().startswith(b"content-length:"):
                        request += stream.read(int(header.partition(b":")[2]))
                self.requests.append(request)
                if self._respond(connection, request) is False:
                    return

    def stop(self) -> None:
        # close() alone does not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        for connection in self._connections:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()


def self_signed_certificate(folder: Path) -> Path:
    """Make a certificate that nobody signed, and return the file of it and its key."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now)
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    file.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    return file


def sequences() -> tuple[int, int]:
    """Return how many random sequences to try, and the seed of the first: ``SEQUENCES``, ``SEQUENCES_SEED``."""
    seed = int(os.environ.get("SEQUENCES_SEED", "0")) or random.randrange(1, 2**32)
    return int(os.environ.get("SEQUENCES", "100")), seed


class SomeOf:
    """Returns every fifth of many points to try; all of them if the environment has ``EVERY_POINT=1``.

    Which ones differs between tests, but not between runs: many tests try the points of the same life.
    """

    _STEP = 5

    def __init__(self, test: str) -> None:
        self._first = zlib.crc32(test.encode()) % self._STEP

    def __call__(self, points: Sequence[T]) -> Sequence[T]:
        return points if os.environ.get("EVERY_POINT") == "1" else points[self._first :: self._STEP]


class FakeClock:
    """A clock that moves only when somebody sleeps."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.slept: list[float] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds

    async def async_sleep(self, seconds: float) -> None:
        self.sleep(seconds)


class FastClock:
    """A clock that is faster than the machine's.

    :param speed: how many times as fast.
    """

    def __init__(self, speed: float = 100.0) -> None:
        self.speed = speed
        self._began = time.monotonic()
        self._epoch = time.time()

    def time(self) -> float:
        return self._epoch + self.monotonic()

    def monotonic(self) -> float:
        return (time.monotonic() - self._began) * self.speed

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds / self.speed)

    async def async_sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds / self.speed)


class EmulatorClock(FakeClock):
    """A clock that moves only when somebody sleeps, for an emulator and its clients alike."""

    def __init__(self, emulator: Emulator) -> None:
        self._clock = emulator.clock
        self.slept = []

    @property
    def now(self) -> float:  # type: ignore[override]
        return self._clock.now()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._clock.advance(seconds)


class Caller:
    """Sends operations through the synchronous or the asynchronous client, the same way."""

    def __init__(self, kind: str, clock: FakeClock) -> None:
        self.kind = kind
        self.clock = clock
        #: The quotas that the client of the last call knew afterwards.
        self.quotas: dict[str, tuple[Quota, ...]] = {}

    def __call__(
        self,
        operation: Operation[Any] | Listing,
        server: Emulator | str,
        token: Any = None,
        *,
        budget: float = 900.0,
        clock: Any = None,
        **settings: Any,
    ) -> Any:
        url = server if isinstance(server, str) else server.url
        token = token if token is not None else getattr(server, "token", "token")
        options = ClientSettings(url, retries=RetryPolicy(budget=budget), **settings)
        clock = clock or self.clock
        if self.kind == "sync":
            with TrifactaClient(options, token, clock=clock, random_number=lambda: 0.5) as client:
                try:
                    if isinstance(operation, Listing):
                        return list(client.iterate(operation))
                    return client.send(operation)
                finally:
                    self.quotas = client.quotas

        async def call() -> Any:
            credential = token if isinstance(token, str) else AsyncCredentialOf(token)
            async with AsyncTrifactaClient(
                options, credential, clock=clock, random_number=lambda: 0.5
            ) as asynchronous:
                try:
                    if isinstance(operation, Listing):
                        return [item async for item in asynchronous.iterate(operation)]
                    return await asynchronous.send(operation)
                finally:
                    self.quotas = asynchronous.quotas

        return asyncio.run(call())


class AsyncCredentialOf:
    """A synchronous credential for the asynchronous client."""

    def __init__(self, credential: Any) -> None:
        self._credential = credential

    async def token(self) -> str:
        return self._credential.token()

    async def reread(self, patience: float) -> str:
        return self._credential.reread(patience)


class FakeTaskInstance:
    """What operators use of a task instance: XComs that survive a deferral, and when it started."""

    def __init__(self, start_date: datetime | None = None) -> None:
        self.start_date = start_date or datetime.now(UTC)
        self.map_index = -1
        self.dag_id, self.task_id, self.run_id = "dag", "task", "run"
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, key: str, **_: Any) -> Any:
        return self.xcoms.get(key)


async def drain(events: AsyncIterator[Any]) -> list[Any]:
    return [event async for event in events]


def run_deferred(operator: Any, context: dict[str, Any]) -> Any:
    """Run an operator as Airflow does: its trigger, when it defers, and then the method it names."""

    def go_on() -> Any:
        return operator.execute(context)

    while True:
        try:
            return go_on()
        except TaskDeferred as deferral:
            trigger = copy_of(deferral.trigger)
            events = asyncio.run(drain(trigger.run()))
            arguments = {**(deferral.kwargs or {}), "event": events[0].payload}
            go_on = functools.partial(
                operator.resume_execution, deferral.method_name, json.loads(json.dumps(arguments)), context
            )


@contextlib.contextmanager
def interrupt_once(happened: Callable[[], bool], handler: Callable[[], None]) -> Iterator[None]:
    """Interrupt what runs within the block, as Airflow does when a task is killed, once something has happened."""
    left = threading.Event()
    main = threading.get_ident()

    def watch() -> None:
        while not left.is_set():
            if happened():
                signal.pthread_kill(main, signal.SIGALRM)
                return
            time.sleep(0.01)

    previous = signal.signal(signal.SIGALRM, lambda *_: handler())
    watching = threading.Thread(target=watch)
    watching.start()
    try:
        yield
    finally:
        left.set()
        watching.join()
        signal.signal(signal.SIGALRM, previous)


def copy_of(trigger: Any) -> Any:
    """Return a trigger as the triggerer makes it: from what is stored."""
    path, arguments = trigger.serialize()
    assert path == f"{type(trigger).__module__}.{type(trigger).__qualname__}"
    return type(trigger)(**json.loads(json.dumps(arguments)))


def new_recipe(emulator: Emulator) -> int:
    """Make a recipe, so that tasks that run at the same time need not run the same one."""
    with TrifactaClient(ClientSettings(emulator.url), emulator.token) as client:
        source = client.create_resource("importedDatasets", {"name": "source", "uri": "s3://example-bucket/a.csv"})
        recipe = client.create_resource(
            "wrangledDatasets",
            {"name": "recipe", "flow": {"id": 301}, "importedDataset": {"id": source["id"]}},
        )
        client.create_resource(
            "outputObjects",
            {
                "execution": "photon",
                "profiler": False,
                "isAdhoc": True,
                "flowNodeId": recipe["id"],
                "writeSettings": [{"path": "s3://example-bucket/b.csv", "action": "create", "format": "csv"}],
            },
        )
        return int(recipe["id"])
