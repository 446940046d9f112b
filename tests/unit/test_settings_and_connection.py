from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.settings import ClientSettings, base_url_from
from airflow_provider_trifacta.connection import settings_of, unknown_extras, usable_token


@pytest.mark.parametrize(
    ("host", "schema", "port", "expected"),
    [
        ("us1.alteryxcloud.com", None, None, "https://us1.alteryxcloud.com"),
        ("https://us1.alteryxcloud.com/", None, 0, "https://us1.alteryxcloud.com"),
        ("trifacta.example.com", "http", 3005, "http://trifacta.example.com:3005"),
        ("http://trifacta.example.com:3005", "", None, "http://trifacta.example.com:3005"),
        ("http://trifacta.example.com:3005", "http", 3005, "http://trifacta.example.com:3005"),
        ("https://gate.example.com/designer/cloud/", None, 8443, "https://gate.example.com:8443/designer/cloud"),
        ("gate.example.com:8443/designer", None, None, "https://gate.example.com:8443/designer"),
        ("http://[::1]:3005", None, None, "http://[::1]:3005"),
        (" HTTPS://Us1.Alteryxcloud.com ", None, None, "https://us1.alteryxcloud.com"),
    ],
)
def test_base_url(host: str, schema: str | None, port: int | None, expected: str) -> None:
    assert base_url_from(host, schema=schema, port=port) == expected


@pytest.mark.parametrize(
    ("host", "schema", "port", "names"),
    [
        (None, None, None, "host: missing"),
        ("  ", None, None, "host: missing"),
        ("ftp://example.com", None, None, "host: scheme 'ftp'"),
        ("example.com", "gopher", None, "schema: 'gopher'"),
        ("https://example.com", "http", None, "schema: 'http' contradicts"),
        ("https://example.com:1", None, 2, "port: 2 contradicts"),
        ("example.com", None, 70000, "port: 70000"),
        ("https://user:secret@example.com", None, None, "host: holds a user name or password"),
        ("https://example.com?x=1", None, None, "host: holds a query"),
        ("https://", None, None, "holds no usable host name"),
        ("https://exa mple.com", None, None, "host"),
        ("https://example.com:port", None, None, "host"),
    ],
)
def test_a_host_that_cannot_be_used(host: str | None, schema: str | None, port: int | None, names: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match=names) as caught:
        base_url_from(host, schema=schema, port=port)
    assert "secret" not in str(caught.value)


def _connection(extra: Any = None, **fields: Any) -> Any:
    defaults = {"conn_id": "mine", "host": "https://example.com", "schema": None, "port": None, "password": "t"}
    return SimpleNamespace(
        **{**defaults, **fields}, extra=extra if isinstance(extra, str) or extra is None else json.dumps(extra)
    )


def test_defaults() -> None:
    settings = settings_of(_connection(), user_agent="x")
    assert (settings.connect_timeout, settings.read_timeout) == (10, 60)
    assert (settings.retries.budget, settings.verify, settings.proxy) == (900, True, None)


def test_extras_are_read_with_their_types_also_from_text(tmp_path: Any) -> None:
    bundle = tmp_path / "ca.pem"
    bundle.touch()
    extra = {
        "connect_timeout": "2.5",
        "read_timeout": 7,
        "retry_budget": "0",
        "verify": "true",
        "ca_bundle": str(bundle),
        "proxy": "http://proxy.example.com:3128",
    }
    settings = settings_of(_connection(extra), user_agent="x")
    assert (settings.connect_timeout, settings.read_timeout, settings.retries.budget) == (2.5, 7, 0)
    assert (settings.verify, settings.proxy) == (str(bundle), "http://proxy.example.com:3128")
    assert settings_of(_connection({"verify": "False"}), user_agent="x").verify is False
    assert settings_of(_connection({"proxy": "", "read_timeout": None}), user_agent="x").read_timeout == 60


@pytest.mark.parametrize(
    ("extra", "names"),
    [
        ("{broken", "extra: is not valid JSON"),
        ([1], "extra: is not a JSON object"),
        ({"connect_timeout": 0}, "connect_timeout"),
        ({"read_timeout": -1}, "read_timeout"),
        ({"read_timeout": "ten"}, "read_timeout"),
        ({"read_timeout": True}, "read_timeout"),
        ({"retry_budget": -1}, "retry_budget"),
        ({"verify": "maybe"}, "verify"),
        ({"ca_bundle": "/nowhere/ca.pem"}, "ca_bundle"),
        ({"ca_bundle": "/", "verify": False}, "ca_bundle"),
        ({"proxy": "socks5://proxy"}, "proxy"),
    ],
    ids=repr,
)
def test_extras_that_cannot_be_used(extra: Any, names: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match=names) as caught:
        settings_of(_connection(extra), user_agent="x")
    assert "'mine'" in str(caught.value)


def test_a_misspelt_extra_is_pointed_at() -> None:
    (warning,) = unknown_extras(_connection({"read_timout": 3, "verify": True}))
    assert "'read_timout'" in warning
    assert "did you mean 'read_timeout'" in warning


@pytest.mark.parametrize("password", [None, "", "   ", "***", "*****", "two words", "line\nbreak", "tökén"])
def test_a_password_that_is_no_token(password: str | None) -> None:
    with pytest.raises(TrifactaConfigurationError, match="password: ") as caught:
        usable_token(password, _connection(), "password")
    assert "'mine'" in str(caught.value)
    assert not password or not password.strip("* ") or password not in str(caught.value)


def test_the_environment_is_asked_for_proxy_and_bundle(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", "http://proxy:1")
    monkeypatch.setenv("NO_PROXY", "inside.example.com")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/etc/ca.pem")
    assert ClientSettings("https://outside.example.com").proxy_to_use() == "http://proxy:1"
    assert ClientSettings("https://inside.example.com").proxy_to_use() is None
    assert ClientSettings("https://x", proxy="http://mine:2").proxy_to_use() == "http://mine:2"
    assert ClientSettings("https://x").verify_to_use() == "/etc/ca.pem"
    assert ClientSettings("https://x", verify=False).verify_to_use() is False
    assert ClientSettings("https://x", verify="/mine.pem").verify_to_use() == "/mine.pem"
