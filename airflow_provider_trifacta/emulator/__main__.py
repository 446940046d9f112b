"""``python -m airflow_provider_trifacta.emulator``: serve until interrupted."""

from __future__ import annotations

import argparse
import signal
import sys
import threading
from pathlib import Path

from airflow_provider_trifacta.emulator import oauth_page
from airflow_provider_trifacta.emulator.clock import Pace
from airflow_provider_trifacta.emulator.server import Emulator
from airflow_provider_trifacta.emulator.world import RECIPES


def main(arguments: list[str] | None = None) -> int:
    """Serve until interrupted, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m airflow_provider_trifacta.emulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: this machine only)")
    parser.add_argument(
        "--port", type=int, default=3005, help="port to listen on, 0 for any free one (default: 3005)"
    )
    parser.add_argument("--token", help="value of the API access token (default: a random one)")
    parser.add_argument(
        "--pace",
        default="seconds=3",
        help="how long runs take: at-once, polls=N or seconds=N (default: seconds=3)",
    )
    parser.add_argument("--file", type=Path, help="keep the state in this file (default: in memory)")
    parser.add_argument("--prefix", default="", help="path prefix of all routes, as behind a proxy")
    parser.add_argument("--no-quotas", action="store_true", help="do not enforce quotas")
    parser.add_argument(
        "--allow-host",
        action="append",
        default=[],
        help="a host name that clients may use for this server; may be repeated",
    )
    parser.add_argument("--oauth-only", action="store_true", help="accept no API access tokens, only OAuth 2.0")
    options = parser.parse_args(arguments)
    try:
        Pace.parse(options.pace)
    except ValueError as error:
        parser.error(f"--pace: {error}")
    emulator = Emulator(
        host=options.host,
        port=options.port,
        token=options.token,
        pace=options.pace,
        file=options.file,
        prefix=options.prefix,
        enforce_quotas=not options.no_quotas,
        hosts=options.allow_host,
    )
    emulator.change_settings(oauth_only=options.oauth_only)
    try:
        emulator.start()
    except OSError as error:
        print(f"cannot listen on {options.host}:{options.port}: {error}", file=sys.stderr)  # noqa: T201
        return 1
    if not emulator.is_loopback:
        print("warning: reachable from other machines", file=sys.stderr)  # noqa: T201
    lines = [
        f"URL:   {emulator.url}",
        f"Token: {emulator.token}{' (only for /emulator)' if options.oauth_only else ''}",
        f"OAuth token endpoint: {emulator.oauth_token_url}",
        f"OAuth client id:      {emulator.oauth_client_id}",
        f"OAuth tokens:         {emulator.url}{oauth_page.PATH}",
        "Recipes:",
    ]
    lines += [f"  {identity:>2}  {name} ({behaviour})" for identity, name, behaviour, _, _ in RECIPES]
    print("\n".join([*lines, "Stop with Ctrl-C."]), flush=True)  # noqa: T201
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    stopped.wait()
    emulator.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
