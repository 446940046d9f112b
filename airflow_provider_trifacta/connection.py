"""The Airflow connection of type ``trifacta``: its fields and their meaning."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Protocol

from airflow_provider_trifacta.api.application import check_application_url
from airflow_provider_trifacta.api.arguments import check_seconds
from airflow_provider_trifacta.api.credentials import token_in
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.retries import RetryPolicy
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.api.tls import check_ca_bundle
from airflow_provider_trifacta.api.token_endpoint import token_url_from
from airflow_provider_trifacta.api.urls import base_url_from, check_proxy

CONN_TYPE = "trifacta"
DEFAULT_CONN_ID = "trifacta_default"
HOOK_NAME = "Trifacta"
#: Tasks warn when a token expires within this many days.
DEFAULT_EXPIRY_WARNING_DAYS = 7.0
_LONGEST_REFRESH_TOKEN_DAYS = 365
#: The operations that start runs, as methods of the hook.
_START_OPERATIONS = ("run_job_group", "run_flow", "run_plan")


class AirflowConnection(Protocol):
    """The part of an Airflow connection that is used."""

    conn_id: str
    conn_type: str | None
    host: str | None
    schema: str | None
    port: int | None
    login: str | None
    password: str | None
    extra: str | None


@dataclass(frozen=True)
class ExtraField:
    """One setting in the extra of the connection.

    :param read: checks a raw value and returns it with its type; strings are accepted for every type, since the
        URI form of a connection has nothing else.
    """

    label: str
    description: str
    schema: Mapping[str, Any]
    read: Callable[[str, Any], Any]


def _seconds(name: str, value: Any) -> float:
    return check_seconds(name, value)


def _budget(name: str, value: Any) -> float:
    return check_seconds(name, value, zero=True)


def _boolean(name: str, value: Any) -> bool:
    if isinstance(value, bool):
        return value
    # Airflow 2's form sends "y".
    said = {"true": True, "y": True, "false": False, "n": False}.get(str(value).strip().lower())
    if said is not None:
        return said
    raise TrifactaConfigurationError(f"extra {name}: {value!r} is neither true nor false")


def _file(name: str, value: Any) -> str:
    return check_ca_bundle(f"extra {name}", value)


def _proxy(name: str, value: Any) -> str:
    return check_proxy(f"extra {name}", value)


def _text(name: str, value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if text and set(text) != {"*"}:
        return text
    raise TrifactaConfigurationError(
        f"extra {name}: {value!r} is not a name (asterisks are Airflow's mask: enter the name again)"
    )


def _client_id(name: str, value: Any) -> str:
    text = value.strip() if isinstance(value, str) else ""
    if token_in(text) and set(text) != {"*"}:
        return text
    raise TrifactaConfigurationError(
        f"extra {name}: {value!r} is not a client id. Copy it from the page 'OAuth 2.0 API Tokens'"
    )


def _token_url(name: str, value: Any) -> str:
    try:
        return token_url_from(value)
    except TrifactaConfigurationError as error:
        raise TrifactaConfigurationError(f"extra {error}") from None


def _lifetime(name: str, value: Any) -> float:
    days = _days(name, value)
    if 1 <= days <= _LONGEST_REFRESH_TOKEN_DAYS:
        return days
    raise TrifactaConfigurationError(
        f"extra {name}: {value!r} is not between 1 and {_LONGEST_REFRESH_TOKEN_DAYS}, the lifetimes that the "
        "application offers"
    )


def _days(name: str, value: Any) -> float:
    try:
        return check_seconds(name, value, zero=True)
    except TrifactaConfigurationError:
        raise TrifactaConfigurationError(f"extra {name}: {value!r} is not a number of days") from None


def _starts_per_minute(name: str, value: Any) -> dict[str, float]:
    """Return the rate of each operation that has one; a single number counts for each."""
    if isinstance(value, str) and value.strip().startswith("{"):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError) as error:
            raise TrifactaConfigurationError(f"extra {name}: is not valid JSON ({error})") from None
    if not isinstance(value, Mapping):
        return dict.fromkeys(_START_OPERATIONS, _rate(f"extra {name}", value))
    for operation in value:
        if operation not in _START_OPERATIONS:
            raise TrifactaConfigurationError(
                f"extra {name}: {operation!r} is none of {', '.join(_START_OPERATIONS)}"
            )
    return {operation: _rate(f"extra {name}: {operation}", rate) for operation, rate in value.items()}


def _rate(name: str, value: Any) -> float:
    try:
        return check_seconds(name, value)
    except TrifactaConfigurationError:
        raise TrifactaConfigurationError(f"{name}: {value!r} is not a positive number of starts") from None


#: The form shows them as collapsible sections.
_NETWORK, _TOKEN, _OAUTH = "Network", "Token", "OAuth 2.0"
_PATIENCE, _LINKS = "Timeouts and retries", "Links"

#: In the order in which users set up a connection; the form keeps this order.
EXTRA_FIELDS: dict[str, ExtraField] = {
    "verify": ExtraField(
        "Verify TLS certificates",
        "Check the server's certificate. Turn off only for tests: the token is then sent to whoever answers.",
        {"type": ["boolean", "null"], "default": True, "section": _NETWORK},
        _boolean,
    ),
    "ca_bundle": ExtraField(
        "CA bundle",
        "Path of a file with the certificate authorities to trust, on every worker and triggerer, for example "
        "/etc/ssl/certs/ca-certificates.crt. Default: the public ones.",
        {"type": ["string", "null"], "section": _NETWORK},
        _file,
    ),
    "proxy": ExtraField(
        "Proxy",
        "URL of a proxy, for example http://proxy.example.com:3128. Default: the environment's. A password in it "
        "is visible to anyone who may view connections.",
        {"type": ["string", "null"], "section": _NETWORK},
        _proxy,
    ),
    "token_variable": ExtraField(
        "Variable with the token",
        "Name of an Airflow Variable that holds the API access token, so that rotation can replace it, for "
        "example trifacta_api_access_token. Until the Variable exists, the token above is used. With OAuth 2.0, "
        "the Variable with the refresh token, for example trifacta_oauth_token. Default: none; the token "
        "above is used.",
        {"type": ["string", "null"], "section": _TOKEN},
        _text,
    ),
    "credential_store": ExtraField(
        "Store with the token",
        "Dotted path of your own class that stores the API access token, for example "
        "my_company.stores.VaultTokenStore. Default: none.",
        {"type": ["string", "null"], "section": _TOKEN},
        _text,
    ),
    "token_sql_conn_id": ExtraField(
        "Database of the token store",
        "Id of an Airflow connection to the database in which the store above keeps the token, if that is "
        "airflow_provider_trifacta.sql_token_store.SqlTokenStore. Default: none.",
        {"type": ["string", "null"], "section": _TOKEN},
        _text,
    ),
    "expiry_warning_days": ExtraField(
        "Warn before the token expires",
        "Tasks warn in their logs when the token expires within this many days; 0 never warns. Default: 7.",
        {"type": ["number", "null"], "minimum": 0, "default": 7, "section": _TOKEN},
        _days,
    ),
    "oauth_client_id": ExtraField(
        "Client id",
        "For Alteryx One, in place of an API access token: the client id on the page 'OAuth 2.0 API Tokens' of "
        "the application. The refresh token of that page goes into a Variable: name it above, in the section "
        "Token. A DAG with TrifactaRefreshOAuthTokenOperator refreshes it. Default: none.",
        {"type": ["string", "null"], "section": _OAUTH},
        _client_id,
    ),
    "oauth_token_url": ExtraField(
        "Token endpoint",
        "The token endpoint on the same page, for example https://pingauth.alteryxcloud.com/as/token. Default: "
        "none.",
        {"type": ["string", "null"], "section": _OAUTH},
        _token_url,
    ),
    "oauth_refresh_token_days": ExtraField(
        "Lifetime of the refresh token",
        "Days that were chosen when the pair was generated, 1 to 365: tasks warn before it ends. Default: "
        "unknown.",
        {"type": ["number", "null"], "minimum": 1, "maximum": 365, "section": _OAUTH},
        _lifetime,
    ),
    "oauth_refresh_on_demand": ExtraField(
        "Refresh on demand",
        "Whether any task or trigger refreshes an access token that was refused, without a DAG that does. Needs a "
        "store with the token that compares before it writes, such as SqlTokenStore. Default: no.",
        {"type": ["boolean", "null"], "default": False, "section": _OAUTH},
        _boolean,
    ),
    "connect_timeout": ExtraField(
        "Connect timeout",
        "Seconds to wait for a connection. Default: 10.",
        {"type": ["number", "null"], "exclusiveMinimum": 0, "default": 10, "section": _PATIENCE},
        _seconds,
    ),
    "read_timeout": ExtraField(
        "Read timeout",
        "Seconds within which an answer must be complete; for a file, each chunk of it. Default: 60.",
        {"type": ["number", "null"], "exclusiveMinimum": 0, "default": 60, "section": _PATIENCE},
        _seconds,
    ),
    "retry_budget": ExtraField(
        "Retry budget",
        "Seconds for which a call is retried when its answer is lost, the server is overloaded or a quota is "
        "reached. A waiting task survives shorter outages. Default: 900.",
        {"type": ["number", "null"], "minimum": 0, "default": 900, "section": _PATIENCE},
        _budget,
    ),
    "max_starts_per_minute": ExtraField(
        "Starts per minute",
        "How many runs deferrable tasks start per minute with this connection: a number, for each of "
        'run_job_group, run_flow and run_plan, or a JSON object such as {"run_job_group": 30, "run_plan": 10}. '
        "Each task then waits in the triggerer before it starts its run. Default: only once a start was refused.",
        {"type": ["string", "null"], "section": _PATIENCE},
        _starts_per_minute,
    ),
    "application_url": ExtraField(
        "Application URL",
        "Address of the web application, for links in logs and buttons: its URL without /jobs or /flows, "
        "for example https://clouddataprep.com?projectId=my-project. Default: the base URL.",
        {"type": ["string", "null"], "section": _LINKS},
        check_application_url,
    ),
}

HIDDEN_FIELDS = ["login"]
RELABELING = {"host": "Base URL", "password": "API access token", "schema": "Scheme"}
PLACEHOLDERS = {
    "host": "https://api.clouddataprep.com",
    "password": "the value of an API access token; empty for Alteryx One",
    "schema": "https, unless the base URL has a scheme",
    "port": "443, or the port of your server",
}


@dataclass(frozen=True)
class OAuthSettings:
    """What a connection specifies for OAuth 2.0.

    :param client_id: the client id that the pair was generated for.
    :param token_url: the token endpoint.
    :param refresh_token_days: lifetime of the refresh token in days; None if it is not specified.
    :param refresh_on_demand: whether any task or trigger may refresh the pair.
    """

    client_id: str
    token_url: str
    refresh_token_days: float | None
    refresh_on_demand: bool


def oauth_of(connection: AirflowConnection) -> OAuthSettings | None:
    """Return what a connection specifies for OAuth 2.0, None if it uses an API access token.

    :raises TrifactaConfigurationError: a field is missing or cannot be used.
    """
    try:
        extra = extra_of(connection)
        # The form stores its default, false, for the last field.
        if not any(extra.get(name) for name in EXTRA_FIELDS if name.startswith("oauth_")):
            return None
        for name in ("oauth_client_id", "oauth_token_url"):
            if name not in extra:
                raise TrifactaConfigurationError(
                    f"extra {name}: missing. Copy it from the page 'OAuth 2.0 API Tokens' of the application"
                )
        if not {"token_variable", "credential_store"} & set(extra):
            raise TrifactaConfigurationError(
                "extra token_variable: missing. Name the Airflow Variable that holds the token pair, with 'token' "
                "or 'secret' in its name, and paste the refresh token into it"
            )
    except TrifactaConfigurationError as error:
        raise _unusable(connection, error) from None
    return OAuthSettings(
        extra["oauth_client_id"],
        extra["oauth_token_url"],
        extra.get("oauth_refresh_token_days"),
        extra.get("oauth_refresh_on_demand", False),
    )


def settings_of(connection: AirflowConnection, *, user_agent: str) -> ClientSettings:
    """Return the client settings for the server of a connection.

    :raises TrifactaConfigurationError: names the field that cannot be used.
    """
    try:
        extra = extra_of(connection)
        verify: bool | str = extra.get("verify", True)
        if "ca_bundle" in extra:
            if not verify:
                raise TrifactaConfigurationError(
                    "extra ca_bundle: has no effect while verify is false. Remove one of them"
                )
            verify = extra["ca_bundle"]
        return ClientSettings(
            base_url=base_url_from(connection.host, schema=connection.schema, port=connection.port),
            connect_timeout=extra.get("connect_timeout", ClientSettings.connect_timeout),
            read_timeout=extra.get("read_timeout", ClientSettings.read_timeout),
            retries=RetryPolicy(budget=extra.get("retry_budget", RetryPolicy.budget)),
            verify=verify,
            proxy=extra.get("proxy"),
            user_agent=user_agent,
            application_url=extra.get("application_url"),
            token_kept_in=_token_kept_in(connection, extra),
            uses_oauth="oauth_client_id" in extra,
        )
    except TrifactaConfigurationError as error:
        raise _unusable(connection, error) from None


def _token_kept_in(connection: AirflowConnection, extra: Mapping[str, Any]) -> str | None:
    """Return where a user finds the token of a connection, None if it is simply the password."""
    if "oauth_client_id" in extra and {"token_variable", "credential_store"} & set(extra):
        kept = pair_kept_in(extra)
    elif "token_variable" in extra:
        # Airflow masks the name in the log of a task.
        kept = (
            f"Variable {extra['token_variable']!r}, which the extra token_variable names; until it exists, the "
            "password of the Airflow connection"
        )
    elif "credential_store" in extra:
        kept = f"the token that credential_store {extra['credential_store']!r} returns"
    elif _other_type(connection):
        kept = f"the password of the Airflow connection, which {_other_type(connection)}"
    else:
        return None
    return kept


def pair_kept_in(extra: Mapping[str, Any]) -> str:
    """Return where a user finds the token pair of an OAuth connection.

    :param extra: the settings in its extra.
    """
    if "token_variable" in extra:
        return f"Variable {extra['token_variable']!r}"
    return f"credential_store {extra['credential_store']!r}"


def _other_type(connection: AirflowConnection) -> str | None:
    """Return the problem with a connection of another type; None if it has ours, or none."""
    kind = connection.conn_type
    if not kind or kind == CONN_TYPE:
        return None
    theirs = " and keeps its token in the extra 'token'" if kind == "dataprep" else ""
    return (
        f"is of type {kind!r}, not {CONN_TYPE!r}{theirs}. Create one of type {CONN_TYPE!r}, with the base "
        "URL in host and the API access token in password"
    )


def usable_token(text: str | None, connection: AirflowConnection, where: str) -> str:
    """Return a token in the form in which it can be sent.

    :param where: where it comes from, named in the error.
    :raises TrifactaConfigurationError: it is missing, or cannot be sent.
    """
    token = (text or "").strip()
    problem = None
    if not token:
        problem = "is empty. Enter an API access token"
    elif re.match(r"(authorization\s*:\s*)?bearer(\s|:|$)", token, re.IGNORECASE):
        problem = "begins with 'Bearer', which is added automatically. Enter only the token"
    elif set(token) == {"*"}:
        problem = "contains asterisks, the mask of a saved secret, not the secret. Enter the token again"
    elif token.startswith("{"):
        problem = (
            "is a JSON object, not a token. If it is an OAuth 2.0 token pair, set oauth_client_id and "
            "oauth_token_url in the extra"
        )
    elif re.search(r"[^\x21-\x7e]", token):
        problem = "contains characters that no token has, such as spaces. Enter the token again"
    if problem:
        raise _unusable(connection, f"{where}: {problem}")
    return token


def extra_of(connection: AirflowConnection) -> dict[str, Any]:
    """Return the known settings in the extra, with their types. Empty ones count as missing.

    :raises TrifactaConfigurationError: not a JSON object, or a value that cannot be used.
    """
    try:
        # Not Airflow's own property, which logs broken JSON and then ignores it.
        extra = json.loads(connection.extra) if connection.extra else {}
    except (ValueError, RecursionError) as error:
        raise TrifactaConfigurationError(f"extra: is not valid JSON ({error})") from None
    if not isinstance(extra, dict):
        raise TrifactaConfigurationError("extra: is not a JSON object")
    given = {name: value for name, value in extra.items() if value is not None and value != ""}
    return {name: EXTRA_FIELDS[name].read(name, value) for name, value in given.items() if name in EXTRA_FIELDS}


def unknown_extras(connection: AirflowConnection) -> list[str]:
    """Return a warning for each unknown setting, with the name that may be meant."""
    try:
        given = [str(name) for name in json.loads(connection.extra or "{}")]
    except (ValueError, TypeError):
        return []
    warnings = []
    # The Test button of Airflow 2 sends each one twice, once with this prefix.
    for name in (name for name in given if name.removeprefix(f"extra__{CONN_TYPE}__") not in EXTRA_FIELDS):
        close = get_close_matches(name, EXTRA_FIELDS, n=1)
        meant = f"; did you mean {close[0]!r}?" if close else ""
        warnings.append(f"extra {name!r} is unknown and has no effect{meant}")
    return warnings


def kept_elsewhere(conn_id: str) -> str:
    """Return why a connection that is not in Airflow's database cannot be changed, and what to do."""
    return (
        f"connection {conn_id!r} is not in Airflow's database but in a secrets backend. Specify a Variable "
        "(token_variable) or your own store (credential_store) in its extra"
    )


def of_connection(connection: AirflowConnection, problem: object) -> TrifactaConfigurationError:
    """Return an error that names the connection.

    :param problem: an error, or what is wrong.
    """
    return TrifactaConfigurationError(f"{name_of(connection.conn_id)}{problem}")


def _unusable(connection: AirflowConnection, problem: object) -> TrifactaConfigurationError:
    """Return an error for a connection that is used as one of ours; it reports when the type is another one."""
    other_type = _other_type(connection)
    return of_connection(connection, f"{problem}. The connection {other_type}" if other_type else problem)


def name_of(conn_id: str) -> str:
    """Return the beginning of an error about a connection."""
    return f"Airflow connection {conn_id!r}: "
