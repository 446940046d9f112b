"""The server's address and how to talk to it, checked before the first request."""

from __future__ import annotations

import os
import platform
from base64 import b64encode
from dataclasses import dataclass, field
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

from airflow_provider_trifacta import __version__
from airflow_provider_trifacta.api.application import Application
from airflow_provider_trifacta.api.arguments import check_seconds
from airflow_provider_trifacta.api.messages import check_header
from airflow_provider_trifacta.api.redaction import Redactor
from airflow_provider_trifacta.api.retries import RetryPolicy
from airflow_provider_trifacta.api.tls import check_ca_bundle
from airflow_provider_trifacta.api.urls import base_url_from, check_proxy

#: Maximum timeout of one call, in seconds.
_LONGEST_TIMEOUT = 86400.0


def default_user_agent() -> str:
    """Return a ``User-Agent`` that names this package and the Python version."""
    return f"airflow-provider-trifacta/{__version__} python/{platform.python_version()}"


@dataclass(frozen=True)
class ClientSettings:
    """How a client talks to one server.

    :param base_url: scheme, host, port and path prefix; the routes are appended to it.
    :param connect_timeout: seconds to wait for a connection.
    :param read_timeout: seconds in which an answer must be complete; when an answer is saved to a file, seconds in
        which each piece must arrive.
    :param retries: how long and how often to repeat calls that may be repeated.
    :param verify: whether to verify the server's TLS certificate; a path is that of a CA bundle.
    :param proxy: URL of a proxy for http and https; None uses the proxy variables of the environment.
    :param user_agent: the ``User-Agent`` header.
    :param application_url: base URL of the web application, for links; None derives it from ``base_url``.
    :param token_kept_in: where a user finds the token, for errors; None means the password of the connection.
    :param uses_oauth: whether the token is the access token of an OAuth 2.0 pair.
    """

    base_url: str
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    verify: bool | str = True
    proxy: str | None = field(default=None, repr=False)
    user_agent: str = field(default_factory=default_user_agent)
    application_url: str | None = None
    token_kept_in: str | None = None
    uses_oauth: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "base_url", base_url_from(self.base_url))
        for name in ("connect_timeout", "read_timeout"):
            check_seconds(name, getattr(self, name), most=_LONGEST_TIMEOUT)
        check_header("user_agent", self.user_agent)
        if self.verify is not True and self.verify is not False:
            check_ca_bundle("ca_bundle", self.verify)
        if self.proxy:
            object.__setattr__(self, "proxy", check_proxy("proxy", self.proxy))

    @property
    def application(self) -> Application:
        """The web application, for links."""
        return Application(self.application_url) if self.application_url else Application.beside(self.base_url)

    # The clients call these once and ignore the environment otherwise: evaluating it for every request costs more
    # than the request, and a .netrc would replace the token.

    def proxy_to_use(self) -> str | None:
        """Return the URL of the proxy for this server, from the settings or the environment.

        :raises TrifactaConfigurationError: the one from the environment cannot be used.
        """
        if self.proxy:
            return self.proxy
        url = urlsplit(self.base_url)
        proxy = None if proxy_bypass(url.netloc) else getproxies().get(url.scheme)
        if not proxy:
            return None
        variable = f"environment variable {url.scheme}_proxy"
        return check_proxy(variable, proxy if "://" in proxy else f"http://{proxy}")

    def verify_to_use(self) -> bool | str:
        """Return how to verify certificates; the environment may specify a CA bundle.

        :raises TrifactaConfigurationError: the bundle from the environment cannot be used.
        """
        if self.verify is not True:
            return self.verify
        for variable in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE"):
            if os.environ.get(variable):
                return check_ca_bundle(f"environment variable {variable}", os.environ[variable])
        return True

    def redactor(self) -> Redactor:
        """Return a redactor for the password of the proxy."""
        url = urlsplit(self.proxy_to_use() or "")
        if not url.password:
            return Redactor()
        user, password = unquote(url.username or ""), unquote(url.password)
        # The last one is the form sent to a proxy.
        return Redactor(password, url.password, b64encode(f"{user}:{password}".encode()).decode())
