"""PostgreSQL and Redis servers of one's own: on loopback and free ports, with all that they keep in a folder."""

from __future__ import annotations

import contextlib
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from airflow_instance import free_port, wait_for

#: Where Debian puts the programs of PostgreSQL, which are not on the path.
_POSTGRESQL = "/usr/lib/postgresql"
#: Nothing here outlives its folder, so nothing need reach the disk.
_POSTGRESQL_SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
    "max_connections": "200",
}


def program(name: str, package: str) -> str:
    """Return the path of a program.

    :param package: the package of Debian that has it.
    :raises RuntimeError: it is not installed; names the package.
    """
    versions = sorted(Path(_POSTGRESQL).glob("*/bin"), reverse=True)
    path = os.pathsep.join([os.environ.get("PATH", os.defpath), *map(str, versions)])
    found = shutil.which(name, path=path)
    if found is None:
        raise RuntimeError(f"{name} was not found. Install it (Debian: apt-get install {package})")
    return found


@contextlib.contextmanager
def postgresql() -> Iterator[str]:
    """Run a PostgreSQL server; yield ``user:password@host:port/database``.

    :raises RuntimeError: it is not installed; names the package.
    """
    initdb, postgres = program("initdb", "postgresql"), program("postgres", "postgresql")
    password, port = secrets.token_hex(16), free_port()
    # Not in the folder of a test: that is closed to the user that the server runs as.
    with _folder(_server_user()) as folder:
        passwords = folder / "password"
        passwords.write_text(password)
        shutil.chown(passwords, _server_user())
        subprocess.run(
            [
                initdb,
                *("--pgdata", str(folder / "data"), "--username", "airflow", "--pwfile", str(passwords)),
                *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"),
            ],
            cwd=folder,
            user=_server_user(),
            check=True,
            stdout=subprocess.DEVNULL,
        )
        settings = _POSTGRESQL_SETTINGS | {"port": str(port)}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command = [postgres, "-D", str(folder / "data"), *options]
        # SIGINT ends it without waiting for its clients.
        with _running(command, folder, port, signal.SIGINT, user=_server_user()):
            yield f"airflow:{password}@127.0.0.1:{port}/postgres"


@contextlib.contextmanager
def redis() -> Iterator[str]:
    """Run a Redis server; yield its URL.

    :raises RuntimeError: it is not installed; names the package.
    """
    command = program("redis-server", "redis-server")
    password, port = secrets.token_hex(16), free_port()
    with _folder(None) as folder:
        configuration = folder / "redis.conf"
        configuration.write_text(
            f'bind 127.0.0.1\nport {port}\nrequirepass {password}\nsave ""\nappendonly no\ndir {folder}\n'
        )
        with _running([command, str(configuration)], folder, port, signal.SIGTERM):
            yield f"redis://:{password}@127.0.0.1:{port}/0"


def _server_user() -> str | None:
    """Return the user that PostgreSQL runs as: it refuses root. None means this one."""
    if os.getuid() != 0:
        return None
    known = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in known else "nobody"


@contextlib.contextmanager
def _folder(user: str | None) -> Iterator[Path]:
    """Make a folder of a user, and delete it afterwards."""
    with tempfile.TemporaryDirectory(prefix="airflow-server-") as name:
        if user is not None:
            shutil.chown(name, user)
        yield Path(name)


@contextlib.contextmanager
def _running(
    command: list[str], folder: Path, port: int, stop: signal.Signals, user: str | None = None
) -> Iterator[None]:
    """Run a server, and end it afterwards.

    :param stop: what ends it.
    :raises RuntimeError: it ends at once; quotes its log.
    """
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            user=user,
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def answers() -> bool:
        if process.poll() is not None:
            raise RuntimeError(f"{command[0]} has ended:\n{log.read_text('utf-8', 'replace')}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
        return False

    try:
        wait_for(answers, f"{command[0]} does not answer", seconds=60, every=0.1)
        yield
    finally:
        process.send_signal(stop)
        try:
            process.wait(timeout=20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
