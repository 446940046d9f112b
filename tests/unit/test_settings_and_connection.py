from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any

import certifi
import pytest
from support import Caller, FakeClock

from airflow_provider_trifacta.api import operations as ops
from airflow_provider_trifacta.api.errors import TrifactaConfigurationError
from airflow_provider_trifacta.api.settings import ClientSettings
from airflow_provider_trifacta.api.urls import base_url_from
from airflow_provider_trifacta.connection import extra_of, settings_of, unknown_extras, usable_token


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
        ("https://user:secret@example.com", None, None, "host: contains a user name or password"),
        ("https://example.com?x=1", None, None, "host: contains a query"),
        ("https://", None, None, "has no usable host name"),
        ("https://exa mple.com", None, None, "host"),
        ("https://example.com:port", None, None, "host"),
        ("https://user:secret@example.com:port", None, None, "host"),
        ("user:secret@exam ple.com", None, None, "host"),
        ("https://user:se@cret@[::1", None, None, "host"),
        ("https://" + "a" * 64 + ".com", None, None, "host: .* has no usable host name"),
        ("https://" + "a." * 130 + "com", None, None, "host: .* has no usable host name"),
        ("https://a..b", None, None, "host: .* has no usable host name"),
        ("https://999.1.1.1", None, None, "host: .* has no usable host name"),
        ("https://bücher.example", None, None, "xn--"),
        ("https://ho|st", None, None, "host: .* has no usable host name"),
        ("https://ho\nst", None, None, "host: .* has no usable host name"),
        ("https://[fe80::1%25eth0]", None, None, "host: .* has no usable host name"),
        ("https://example.com:0", None, None, "host: .* has no usable host name"),
        ("https://example.com/a/../b", None, None, r"contains '.' or '..'"),
        ("https://example.com/\ud800", None, None, "host: .* is not a URL"),
    ],
)
def test_a_host_that_cannot_be_used(host: str | None, schema: str | None, port: int | None, names: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match=names) as caught:
        base_url_from(host, schema=schema, port=port)
    assert "secret" not in str(caught.value)
    assert "cret@" not in str(caught.value)


def _connection(extra: Any = None, **fields: Any) -> Any:
    defaults = {
        "conn_id": "mine",
        "conn_type": "trifacta",
        "host": "https://example.com",
        "schema": None,
        "port": None,
        "password": "t",
    }
    return SimpleNamespace(
        **{**defaults, **fields}, extra=extra if isinstance(extra, str) or extra is None else json.dumps(extra)
    )


def test_defaults() -> None:
    settings = settings_of(_connection(), user_agent="x")
    assert (settings.connect_timeout, settings.read_timeout) == (10, 60)
    assert (settings.retries.budget, settings.verify, settings.proxy) == (900, True, None)


def test_extras_are_read_with_their_types_also_from_text() -> None:
    bundle = certifi.where()
    extra = {
        "connect_timeout": "2.5",
        "read_timeout": 7,
        "retry_budget": "0",
        "verify": "true",
        "ca_bundle": bundle,
        "proxy": "http://proxy.example.com:3128",
    }
    settings = settings_of(_connection(extra), user_agent="x")
    assert (settings.connect_timeout, settings.read_timeout, settings.retries.budget) == (2.5, 7, 0)
    assert (settings.verify, settings.proxy) == (bundle, "http://proxy.example.com:3128")
    assert settings_of(_connection({"verify": "False"}), user_agent="x").verify is False
    assert settings_of(_connection({"proxy": "", "read_timeout": None}), user_agent="x").read_timeout == 60


@pytest.mark.parametrize(
    ("value", "rates"),
    [
        (30, {"run_job_group": 30, "run_flow": 30, "run_plan": 30}),
        ("7.5", {"run_job_group": 7.5, "run_flow": 7.5, "run_plan": 7.5}),
        ({"run_plan": "3"}, {"run_plan": 3}),
        ('{"run_plan": 3, "run_flow": 4}', {"run_plan": 3, "run_flow": 4}),
    ],
    ids=repr,
)
def test_starts_per_minute(value: Any, rates: dict[str, float]) -> None:
    assert extra_of(_connection({"max_starts_per_minute": value}))["max_starts_per_minute"] == rates


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
        ({"ca_bundle": "/"}, "ca_bundle"),
        ({"ca_bundle": "/dev/null"}, "ca_bundle"),
        ({"ca_bundle": __file__}, "ca_bundle"),
        ({"ca_bundle": "a\0b"}, "ca_bundle"),
        ({"ca_bundle": certifi.where(), "verify": False}, "ca_bundle"),
        ({"read_timeout": 1e300}, "read_timeout"),
        ({"connect_timeout": 10**400}, "connect_timeout"),
        ({"proxy": "socks5://proxy"}, "proxy"),
        ({"proxy": "http://user:secret@proxy:99999"}, "proxy"),
        ({"proxy": "http://user:secret@pro xy"}, "proxy"),
        ({"proxy": "http://user:secret@[::1"}, "proxy"),
        ({"proxy": "http://user:secret@proxy/path"}, "proxy"),
        ({"proxy": "proxy:3128"}, "proxy"),
        ({"proxy": 3128}, "proxy"),
        ({"max_starts_per_minute": 0}, "extra max_starts_per_minute: 0 is not a positive number of starts"),
        ({"max_starts_per_minute": "many"}, "extra max_starts_per_minute: 'many' is not a positive number"),
        (
            {"max_starts_per_minute": {"run_job_group": -1}},
            "max_starts_per_minute: run_job_group: -1 is not a pos",
        ),
        ({"max_starts_per_minute": {"runFlow": 3}}, "'runFlow' is none of run_job_group, run_flow, run_plan"),
        ({"max_starts_per_minute": "{broken"}, "extra max_starts_per_minute: is not valid JSON"),
        ({"application_url": "https://user:secret@example.com"}, "application_url"),
        ({"application_url": "https://user:se@cret@exam ple"}, "application_url"),
        ({"application_url": "https://ho\tst"}, "application_url"),
    ],
    ids=repr,
)
def test_extras_that_cannot_be_used(extra: Any, names: str) -> None:
    with pytest.raises(TrifactaConfigurationError, match=names) as caught:
        settings_of(_connection(extra), user_agent="x")
    assert "'mine'" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "cret@" not in str(caught.value)


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
    bundle = certifi.where()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", bundle)
    assert ClientSettings("https://outside.example.com").proxy_to_use() == "http://proxy:1"
    assert ClientSettings("https://inside.example.com").proxy_to_use() is None
    assert ClientSettings("https://x", proxy="http://mine:2").proxy_to_use() == "http://mine:2"
    assert ClientSettings("https://x").verify_to_use() == bundle
    assert ClientSettings("https://x", verify=False).verify_to_use() is False
    assert ClientSettings("https://x", verify=bundle).verify_to_use() == bundle


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("https_proxy", "socks5://proxy:1"),
        ("https_proxy", "http://user:secret@proxy:99999"),
        ("REQUESTS_CA_BUNDLE", "/"),
        ("REQUESTS_CA_BUNDLE", __file__),
        ("CURL_CA_BUNDLE", "/nowhere"),
    ],
)
@pytest.mark.parametrize("client", ["sync", "async"])
def test_an_environment_that_cannot_be_used(
    monkeypatch: pytest.MonkeyPatch, client: str, variable: str, value: str
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE", raising=False)
    monkeypatch.setenv(variable, value)
    with pytest.raises(TrifactaConfigurationError, match=variable) as caught:
        Caller(client, FakeClock())(ops.get_job_group(5), "https://outside.example.com")
    assert "secret" not in str(caught.value)


def test_a_proxy_of_the_environment_needs_no_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("https_proxy", "proxy:3128")
    assert ClientSettings("https://outside.example.com").proxy_to_use() == "http://proxy:3128"


def test_settings_show_no_password() -> None:
    settings = ClientSettings("https://example.com", proxy="http://user:hidden-pw@proxy:3128")
    assert "hidden-pw" not in repr(settings)
    assert "hidden-pw" not in repr(settings.redactor())


def test_settings_made_by_hand_are_checked_too() -> None:
    assert ClientSettings("https://Example.com/v/").base_url == "https://example.com/v"
    for wrong in ({"base_url": "ftp://x"}, {"verify": "/nowhere"}, {"proxy": "x"}, {"user_agent": "a\nb"}):
        with pytest.raises(TrifactaConfigurationError):
            ClientSettings(**{"base_url": "https://x", **wrong})  # type: ignore[arg-type]
