"""Where the server is and how to talk to it, checked before the first request."""

from __future__ import annotations

import os
import platform
import re
from dataclasses import dataclass, field
from urllib.parse import quote, urlsplit
from urllib.request import getproxies, proxy_bypass

from airflow_provider_trifacta import __version__
from airflow_provider_trifacta.api.application import Application
from airflow_provider_trifacta.api.arguments import check_seconds
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.retries import RetryPolicy

SCHEMES = ("https", "http")


def default_user_agent() -> str:
    """Name this package and the Python it runs on."""
    return f"airflow-provider-trifacta/{__version__} python/{platform.python_version()}"


def base_url_from(host: str | None, *, schema: str | None = None, port: int | None = None) -> str:
    """Return the base URL that the parts of a connection describe, without a trailing slash.

    ``host`` may be a whole URL, port and path prefix included, or a bare name with ``schema`` and ``port``
    in their own fields. The scheme is https when none is given. Port 0 means no port, since some
    versions of the Airflow form store that.

    :raises TrifactaConfigurationError: no host, a scheme other than http and https, contradictions.
    """
    host = (host or "").strip()
    schema = (schema or "").strip().lower().removesuffix("://") or None
    if not host:
        raise TrifactaConfigurationError(
            "host: missing. Put the base URL of the server there, for example https://us1.alteryxcloud.com"
        )
    if schema and schema not in SCHEMES:
        raise TrifactaConfigurationError(f"schema: {schema!r} is not known, use https or http")
    try:
        # A bare name, with or without a port and a path, has no "://".
        url = urlsplit(host if "://" in host else f"{schema or 'https'}://{host}")
        port_in_url = url.port
    except ValueError as error:
        raise TrifactaConfigurationError(f"host: {host!r} is not a URL ({error})") from None
    scheme = url.scheme.lower()
    if scheme not in SCHEMES:
        raise TrifactaConfigurationError(f"host: scheme {scheme!r} is not known, use https:// or http://")
    if schema and schema != scheme:
        raise TrifactaConfigurationError(f"schema: {schema!r} contradicts the host, which says {scheme!r}")
    if url.username is not None or url.password is not None:
        raise TrifactaConfigurationError(
            "host: holds a user name or password. Put the API access token in the password field"
        )
    if url.query or url.fragment:
        raise TrifactaConfigurationError("host: holds a query or fragment, only a base URL is expected")
    name = url.hostname
    if not name or re.search(r"\s", host):
        raise TrifactaConfigurationError(f"host: {host!r} holds no usable host name")
    if port and port_in_url and port != port_in_url:
        raise TrifactaConfigurationError(f"port: {port} contradicts the host, which says {port_in_url}")
    port = port or port_in_url
    if port and not 0 < port < 65536:
        raise TrifactaConfigurationError(f"port: {port} is not between 1 and 65535")
    netloc = f"[{name}]" if ":" in name else name
    if port:
        netloc += f":{port}"
    return f"{scheme}://{netloc}{quote(url.path, safe='/%~').rstrip('/')}"


@dataclass(frozen=True)
class ClientSettings:
    """How a client talks to one server.

    :param base_url: scheme, host, port and path prefix; the routes are appended to it.
    :param connect_timeout: seconds to wait for a connection.
    :param read_timeout: seconds to wait for data on an open connection.
    :param retries: how long and how often to repeat calls that may be repeated.
    :param verify: check the server's TLS certificate; a path names the CA bundle to check it with.
    :param proxy: URL of a proxy for http and https; None uses the proxy variables of the environment.
    :param user_agent: the ``User-Agent`` header.
    :param application_url: base URL of the web application that links lead to; None is where it usually is.
    """

    base_url: str
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    verify: bool | str = True
    proxy: str | None = None
    user_agent: str = field(default_factory=default_user_agent)
    application_url: str | None = None

    def __post_init__(self) -> None:
        for name in ("connect_timeout", "read_timeout"):
            check_seconds(name, getattr(self, name))

    @property
    def application(self) -> Application:
        """The web application, for links."""
        return Application(self.application_url) if self.application_url else Application.beside(self.base_url)

    # The clients ask these once and trust the environment for nothing else: looked up at every request, it
    # costs more than the request, and a .netrc in it would replace the token.

    def proxy_to_use(self) -> str | None:
        """Return the URL of the proxy for this server, from the settings or the environment."""
        if self.proxy:
            return self.proxy
        url = urlsplit(self.base_url)
        return None if proxy_bypass(url.netloc) else getproxies().get(url.scheme)

    def verify_to_use(self) -> bool | str:
        """Return what to check certificates with; the environment may name another CA bundle."""
        if self.verify is not True:
            return self.verify
        return os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
