"""The embedded server: runs in-process from Python; the command line starts it, too."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import threading
from collections.abc import Callable, Coroutine, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import uvicorn

from airflow_provider_trifacta.emulator import world
from airflow_provider_trifacta.emulator.access import Access, is_loopback
from airflow_provider_trifacta.emulator.app import Application, new_world
from airflow_provider_trifacta.emulator.clock import Clock, Pace
from airflow_provider_trifacta.emulator.connections import Connections, protocol_noting
from airflow_provider_trifacta.emulator.faults import Fault
from airflow_provider_trifacta.emulator.journal import Entry
from airflow_provider_trifacta.emulator.oauth import ISSUER_PATH
from airflow_provider_trifacta.emulator.oauth_tokens import OAuthPair
from airflow_provider_trifacta.emulator.state import Row, State

T = TypeVar("T")

#: Seconds that answers under way have to end when the server stops.
_LAST_ANSWERS = 1.0


class _Server(uvicorn.Server):
    """Listens on one address, and can stop listening for a while."""

    def __init__(
        self,
        config: uvicorn.Config,
        address: tuple[str, int],
        connections: Connections,
        listening: threading.Event,
    ) -> None:
        super().__init__(config)
        self._listening = listening
        self._address = address
        self._connections = connections
        self._again: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to the caller: the server may not run in the main thread."""
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start listening, and signal that."""
        await super().startup(sockets)
        self._listening.set()

    async def main_loop(self) -> None:
        """Serve until :meth:`stop`: uvicorn would look every 0.1 s whether it was called."""
        await self.on_tick(0)  # prepares the headers of answers
        await self._stopping.wait()

    def stop(self) -> None:
        """Stop serving; to be called in the event loop."""
        self._stopping.set()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close everything, giving answers that are under way a second: uvicorn would wait at least 0.1 s."""
        for server in self.servers:
            server.close()
        for sock in sockets or []:
            sock.close()
        for connection in list(self.server_state.connections):
            connection.shutdown()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(_LAST_ANSWERS):
                while self.server_state.connections or self.server_state.tasks:  # noqa: ASYNC110 - uvicorn signals neither
                    await asyncio.sleep(0.005)

    async def refuse(self, seconds: float | None) -> None:
        """Refuse connections for N seconds, or until :meth:`accept`."""
        for server in self.servers:
            server.close()
        self.servers.clear()
        if seconds is not None:
            self._again = asyncio.get_running_loop().create_task(self._accept_after(seconds))

    async def refuse_now(self) -> None:
        """Refuse connections and reset the open ones."""
        await self.refuse(None)
        self._connections.reset_all()

    async def accept(self) -> None:
        """Accept connections again, on the same port."""
        loop = asyncio.get_running_loop()

        def protocol() -> asyncio.Protocol:
            return self.config.http_protocol_class(  # type: ignore[call-arg]
                config=self.config, server_state=self.server_state, app_state=self.lifespan.state, _loop=loop
            )

        host, port = self._address
        self.servers.append(await loop.create_server(protocol, host, port))

    async def _accept_after(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self.accept()


class Emulator:
    """A server that implements the v4 API, on loopback, with a world to run things in.

    ::

        with Emulator(pace="at-once") as emulator:
            client = TrifactaClient(ClientSettings(emulator.url), emulator.token)

    :param host: address to bind to.
    :param port: port to bind to; 0 takes a free one.
    :param token: value of the first API access token; a random one when None.
    :param pace: how time passes for runs: ``at-once``, ``polls=N`` (reads of the status) or ``seconds=N``.
    :param file: keeps the state between starts; None keeps it in memory.
    :param prefix: a path in front of all routes, as behind a proxy.
    :param enforce_quotas: whether calls over the documented quotas are refused.
    :param clock: the clock; the machine's when None.
    :param hosts: further host names under which clients may call the server, besides this machine's own.
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        token: str | None = None,
        pace: str = "at-once",
        file: Path | None = None,
        prefix: str = "",
        enforce_quotas: bool = True,
        clock: Clock | None = None,
        hosts: Iterable[str] = (),
    ) -> None:
        self.clock = clock or Clock()
        self.state = State(self.clock, file)
        self.token = new_world(self.state, token=token)
        self._connections = Connections()
        access = Access(self.token, [*hosts, host])
        self.app = Application(
            self.state,
            clock=self.clock,
            pace=Pace.parse(pace),
            connections=self._connections,
            refuse=self._refuse,
            access=access,
            issuer=lambda: f"{self._origin}{ISSUER_PATH}",
            prefix=prefix,
            enforce_quotas=enforce_quotas,
        )
        self._host, self._port, self._prefix = host, port, prefix.rstrip("/")
        self._server: _Server | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._failure: BaseException | None = None

    # ------------------------------------------------------------------------------------------ start and stop

    def start(self) -> Emulator:
        """Start serving in a separate thread. Returns once connections are accepted.

        :raises OSError: the address cannot be bound.
        """
        self._thread = threading.Thread(target=self._run, name="trifacta-emulator", daemon=True)
        self._thread.start()
        self._started.wait()
        if self._failure is not None:
            raise self._failure
        return self

    def stop(self) -> None:
        """Stop serving; returns when the thread has ended."""
        if self._server is not None and self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._server.stop)
        if self._thread is not None:
            self._thread.join(timeout=10)
            self._thread = None

    def __enter__(self) -> Emulator:
        return self.start()

    def __exit__(self, *exc_info: object) -> None:
        self.stop()

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failure = error
        finally:
            self._started.set()

    async def _serve(self) -> None:
        # Only a socket that names its protocol gets TCP_NODELAY from asyncio. Without it, an answer takes 40 ms.
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with sock:
            sock.bind((self._host, self._port))
            self._port = sock.getsockname()[1]
            config = uvicorn.Config(
                self.app.asgi,
                http=protocol_noting(self._connections),
                ws="none",
                lifespan="off",
                log_config=None,
                # Answers that are lost on purpose need no log lines.
                log_level="critical",
                access_log=False,
                proxy_headers=False,
                date_header=False,  # the emulator's clock sets it
            )
            self._loop = asyncio.get_running_loop()
            self._server = _Server(config, (self._host, self._port), self._connections, self._started)
            await self._server.serve(sockets=[sock])

    def _call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        if self._loop is None:
            coroutine.close()
            raise RuntimeError("the emulator is not running")
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(timeout=10)

    def _in_server(self, work: Callable[[], T]) -> T:
        """Do something that changes the state between two requests, not during one."""
        if self._thread is None:
            return work()

        async def do() -> T:
            return work()

        return self._call(do())

    async def _refuse(self, seconds: float) -> None:
        if self._server is not None:
            await self._server.refuse(seconds)

    # -------------------------------------------------------------------------------------------------- inspecting

    @property
    def url(self) -> str:
        """The base URL, for the host of a connection."""
        return f"{self._origin}{self._prefix}"

    @property
    def _origin(self) -> str:
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"http://{host}:{self._port}"

    @property
    def oauth_token_url(self) -> str:
        """The token endpoint of OAuth 2.0, which is not behind the prefix."""
        return self.app.oauth.tokens.token_url

    @property
    def oauth_client_id(self) -> str:
        """The client id that refreshing needs."""
        return self.app.oauth.tokens.client_id

    def oauth_refresh_token_works(self, value: str) -> bool:
        """Return whether this is a refresh token that is not spent, expired or revoked."""
        return self.app.oauth.tokens.refresh_token_works(value)

    def oauth_access_token_works(self, value: str) -> bool:
        """Return whether this is an OAuth access token that is not expired or revoked."""
        return self.app.oauth.tokens.access_token_works(value)

    @property
    def stored_token(self) -> str:
        """The token that :class:`~airflow_provider_trifacta.emulator.token_store.EmulatorTokenStore` keeps now."""
        return self.state.stored_token

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach the server."""
        return is_loopback(self._host)

    @property
    def journal(self) -> list[Entry]:
        """Every request so far, without secrets."""
        return list(self.app.journal)

    def calls(self, operation: str) -> list[Entry]:
        """Return the requests for one operation, e.g. ``runJobGroup``."""
        return [entry for entry in self.journal if entry.operation == operation]

    @property
    def connections(self) -> int:
        """How many TCP connections there have been."""
        return self._connections.total

    @property
    def job_groups(self) -> list[Row]:
        """Every job group in its current state."""
        self.app.runs.look_at_all()
        return list(self.state.rows("jobGroups"))

    # ------------------------------------------------------------------------------------------------- changing

    def order(self, operation: str, kind: Any, **options: Any) -> None:
        """Order a fault; see :class:`~airflow_provider_trifacta.emulator.faults.Fault`."""
        self._call(self.app.order(Fault(operation, kind, **options)))

    def clear_faults(self) -> None:
        """Forget all faults."""
        self.app.faults.clear()

    @contextlib.contextmanager
    def refusing_connections(self) -> Iterator[None]:
        """Refuse connections within the block, and reset the open ones."""
        assert self._server is not None  # noqa: S101
        self._call(self._server.refuse_now())
        try:
            yield
        finally:
            self._call(self._server.accept())

    def change_settings(self, **settings: Any) -> None:
        """Change the pace and what the server supports; see ``Application.change_settings``."""
        self.app.change_settings(**settings)

    def add_token(self, *, lifetime_seconds: int = -1, person: int = world.PERSON) -> str:
        """Add an API access token and return its value."""
        value: str = world.add_token(self.state, person, lifetime_seconds=lifetime_seconds)["_value"]
        return value

    def add_person(self, email: str) -> tuple[int, str]:
        """Add a user and return its id and the value of a token."""
        person: int = world.add_person(self.state, email)["id"]
        return person, self.add_token(person=person)

    def generate_oauth_pair(self, *, refresh_token_days: int = 365, person: int = world.PERSON) -> OAuthPair:
        """Generate a pair of OAuth tokens, as a user does on the page *OAuth 2.0 API Tokens*.

        :param refresh_token_days: from 1 to 365; counts for every refresh token that descends from the pair.
        :raises ValueError: another number of days.
        """
        return self._in_server(lambda: self.app.oauth.generate(person, refresh_token_days))

    def disable_oauth_family(self, value: str) -> None:
        """Disable the pair that an OAuth token descends from, with all its tokens.

        :raises ValueError: there is no such token.
        """
        tokens = self.app.oauth.tokens
        self._in_server(lambda: tokens.disable(tokens.family_of(value)))

    def store_token(self, value: str) -> None:
        """Change what :class:`~airflow_provider_trifacta.emulator.token_store.EmulatorTokenStore` keeps."""
        self._in_server(lambda: self.app.store_token(value))

    def delete_token(self, value: str) -> None:
        """Revoke the token with this value."""
        tokens = self.state.tables["apiAccessTokens"]
        for token_id in [token_id for token_id, row in tokens.items() if row["_value"] == value]:
            del tokens[token_id]
