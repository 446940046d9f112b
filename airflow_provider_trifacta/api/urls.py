"""URLs from users: the server's and a proxy's."""

from __future__ import annotations

import re
from ipaddress import ip_address
from urllib.parse import SplitResult, quote, urlsplit

from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.redaction import redact_userinfo

SCHEMES = ("https", "http")
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_UNFIT = re.compile(r"[\s\x00-\x1f\x7f\\]")


def base_url_from(host: str | None, *, schema: str | None = None, port: int | None = None) -> str:
    """Return the base URL that the parts of a connection describe, without a trailing slash.

    ``host`` may be a complete URL, including port and path prefix, or a bare name with ``schema`` and ``port``
    in their own fields. The scheme defaults to https. Port 0 means no port, since some versions of the Airflow
    form store that.

    :raises TrifactaConfigurationError: no host, a scheme other than http and https, contradictions.
    """
    host = (host or "").strip()
    schema = (schema or "").strip().lower().removesuffix("://") or None
    if not host:
        raise TrifactaConfigurationError(
            "host: missing. Enter the base URL of the server, for example https://api.clouddataprep.com"
        )
    if schema and schema not in SCHEMES:
        raise TrifactaConfigurationError(f"schema: {schema!r} is not supported, use https or http")
    shown = redact_userinfo(host)
    try:
        # A bare name, with or without a port and a path, has no "://".
        url = urlsplit(host if "://" in host else f"{schema or 'https'}://{host}")
        port_in_url = url.port
        path = quote(url.path, safe="/%~").rstrip("/")
    except ValueError as error:
        raise TrifactaConfigurationError(f"host: {shown!r} is not a URL ({redact_userinfo(str(error))})") from None
    scheme = url.scheme.lower()
    if scheme not in SCHEMES:
        raise TrifactaConfigurationError(f"host: scheme {scheme!r} is not supported, use https:// or http://")
    if schema and schema != scheme:
        raise TrifactaConfigurationError(
            f"schema: {schema!r} contradicts the scheme in host, {scheme!r}. Remove one of them"
        )
    if "@" in url.netloc:
        raise TrifactaConfigurationError(
            "host: contains a user name or password. Enter the API access token in the password field"
        )
    if url.query or url.fragment:
        raise TrifactaConfigurationError("host: contains a query or fragment. Enter only the base URL")
    if not is_host(url) or _UNFIT.search(host) or port_in_url == 0:
        raise TrifactaConfigurationError(
            f"host: {shown!r} has no usable host name. Use letters, digits, hyphens and dots, or an IP address; "
            "write other names in their xn-- form"
        )
    if {".", ".."} & set(path.split("/")):
        raise TrifactaConfigurationError(f"host: the path in {shown!r} contains '.' or '..'")
    if port and port_in_url and port != port_in_url:
        raise TrifactaConfigurationError(
            f"port: {port} contradicts the port in host, {port_in_url}. Remove one of them"
        )
    port = port or port_in_url
    if port and not 0 < port < 65536:
        raise TrifactaConfigurationError(f"port: {port} is not between 1 and 65535")
    return f"{scheme}://{_bracketed(url.hostname or '')}{f':{port}' if port else ''}{path}"


def check_proxy(name: str, value: object) -> str:
    """Return the URL of a proxy after checking it. Its user name and password are never quoted.

    :param name: the user's name for the setting, for the error.
    :raises TrifactaConfigurationError: not the http(s) URL of a proxy.
    """
    try:
        url = urlsplit(value if isinstance(value, str) and not _UNFIT.search(value) else "")
        usable = url.scheme in SCHEMES and is_host(url) and url.port != 0 and url.path in ("", "/")
        usable = usable and not url.query and not url.fragment
    except ValueError:
        usable = False
    if not usable:
        raise TrifactaConfigurationError(f"{name}: not the URL of a proxy, for example http://proxy:3128")
    userinfo, at, _ = url.netloc.rpartition("@")
    port = f":{url.port}" if url.port else ""
    return f"{url.scheme}://{userinfo}{at}{_bracketed(url.hostname or '')}{port}"


def is_host(url: SplitResult) -> bool:
    """Return whether the host of a URL is a name or an address that both HTTP libraries can reach."""
    name = url.hostname or ""
    if "[" in url.netloc or ":" in name or name.replace(".", "").isdigit():
        try:
            ip_address(name)
        except ValueError:
            return False
        return "%" not in name
    labels = name.removesuffix(".").split(".")
    return len(name) <= 253 and all(_LABEL.fullmatch(label) for label in labels)


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
