"""Access control: web pages in a browser must reach neither the API nor the control routes."""

from __future__ import annotations

import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable

from starlette.requests import Request

from airflow_provider_trifacta.emulator.problems import Problem


def is_loopback(host: str) -> bool:
    """Return whether a host name or an address is loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class Access:
    """Decides which requests are answered.

    :param token: the token for the control routes; it stays valid when the API no longer accepts it.
    :param hosts: further host names under which the server may be called, besides this machine's own.
    """

    def __init__(self, token: str, hosts: Iterable[str] = ()) -> None:
        self._token = token.encode()
        self._hosts = {host.lower() for host in hosts} | {socket.gethostname().lower()}

    def check_host(self, request: Request) -> None:
        """Refuse host names that are not the server's, since their owner may point them here (DNS rebinding).

        :raises Problem: 403.
        """
        header = request.headers.get("host")
        if header is None:  # HTTP/1.0, which no browser speaks
            return
        host = _host_of(header)
        server = request.scope.get("server") or ("",)
        if not (host and (is_loopback(host) or host in self._hosts or host == server[0])):
            raise Problem.forbidden(
                f"Host: {header!r} is not a name of this server. Start it with --allow-host to allow it"
            )

    def check_origin(self, request: Request) -> None:
        """Refuse what other web pages send, even without reading the answer.

        Every browser says where such a request comes from; other programs need not.

        :raises Problem: 403.
        """
        origin = request.headers.get("origin")
        own = f"http://{request.headers.get('host', '')}"
        if origin is not None and origin.lower() != own.lower():
            raise Problem.forbidden(f"Origin: {origin!r} may not control this server")
        if request.headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
            raise Problem.forbidden("Sec-Fetch-Site: other pages may not control this server")

    def check_control(self, request: Request) -> None:
        """Refuse control requests from others.

        :raises Problem: 401 without the token, 403 from a web page.
        """
        self.check_origin(request)
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        sent = value.strip().encode("latin-1")
        if scheme.lower() != "bearer" or not hmac.compare_digest(sent, self._token):
            raise Problem.unauthorized("Control routes need the token that the server was started with")

    def check_local(self, request: Request) -> None:
        """Refuse pages, which need no login, to other machines.

        :raises Problem: 403.
        """
        client = request.scope.get("client") or ("",)
        if not is_loopback(client[0]):
            raise Problem.forbidden("Pages are only shown on the machine that the server runs on")


def _host_of(header: str) -> str:
    """Return the host of a Host header in lower case, "" if it is invalid."""
    match = re.fullmatch(r"(?:\[([0-9a-fA-F:.]+)\]|([^\[\]:@/\s]+?)\.?)(?::\d+)?", header)
    return (match[1] or match[2]).lower() if match else ""
