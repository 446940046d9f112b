"""Assets of the scheme trifacta: what Airflow learns about them from the provider's metadata."""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest

from airflow_provider_trifacta.airflow_support.compat import Asset
from airflow_provider_trifacta.assets import convert_asset_to_openlineage, sanitize_uri
from airflow_provider_trifacta.get_provider_info import get_provider_info

GOOD = [
    ("trifacta://us1.alteryxcloud.com/recipes/4711", "trifacta://us1.alteryxcloud.com/recipes/4711"),
    ("trifacta://US1.AlteryxCloud.com/flows/301/", "trifacta://us1.alteryxcloud.com/flows/301"),
    ("trifacta://trifacta.example.com:3005/plans/88", "trifacta://trifacta.example.com:3005/plans/88"),
    ("trifacta://[::1]:3005/plans/01HV-x_y.z", "trifacta://[::1]:3005/plans/01HV-x_y.z"),
]
BAD = [
    ("trifacta:///recipes/7", "no usable host"),
    ("trifacta:recipes/7", "no usable host"),
    ("trifacta://a b/recipes/7", "no usable host"),
    ("trifacta://host:99999/recipes/7", "no usable host"),
    ("trifacta://host:0/recipes/7", "no usable host"),
    ("trifacta://me@host/recipes/7", "without a user name"),
    ("trifacta://host", "not '' after the host"),
    ("trifacta://host/recipes", "not '/recipes' after the host"),
    ("trifacta://host/recipe/7", "not '/recipe/7' after the host"),
    ("trifacta://host/recipes/7/8", "not '/recipes/7/8' after the host"),
    ("trifacta://host/flows/301?recipe=7", "with nothing after the id"),
]


@pytest.mark.parametrize(("written", "uri"), GOOD)
def test_airflow_compares_one_form(written: str, uri: str) -> None:
    assert urlunsplit(sanitize_uri(urlsplit(written))) == uri
    assert Asset(written).uri == uri


@pytest.mark.parametrize(("written", "why"), BAD)
def test_another_uri_is_refused_with_the_right_form(written: str, why: str) -> None:
    with pytest.raises(ValueError, match="must be trifacta://<host>/recipes/<id>") as caught:
        sanitize_uri(urlsplit(written))
    assert why in str(caught.value)


@pytest.mark.filterwarnings("error:.*is not AIP-60 compliant:UserWarning")
def test_airflow_asks_the_handler() -> None:
    # Airflow 2.11 only warns.
    with pytest.raises((ValueError, UserWarning), match="must be trifacta://<host>/recipes/<id>"):
        Asset("trifacta://host/recipe/7")


def test_a_password_is_not_quoted() -> None:
    with pytest.raises(ValueError, match="without a user name or a password") as caught:
        sanitize_uri(urlsplit("trifacta://me:hunter2@host/recipes/7"))
    assert "hunter2" not in str(caught.value)


def test_airflow_2_and_3_find_the_same_under_their_own_keys() -> None:
    info = get_provider_info()
    assert info["asset-uris"] == info["dataset-uris"]
    (entry,) = info["asset-uris"]
    assert entry["schemes"] == ["trifacta"]
    for path in (entry["handler"], entry["to_openlineage_converter"]):
        module, _, name = path.rpartition(".")
        assert callable(getattr(import_module(module), name))


def test_openlineage_gets_host_and_object() -> None:
    pytest.importorskip("openlineage.client")
    asset: Any = SimpleNamespace(uri="trifacta://US1.alteryxcloud.com/recipes/4711")
    dataset = convert_asset_to_openlineage(asset, None)
    assert (dataset.namespace, dataset.name) == ("trifacta://us1.alteryxcloud.com", "recipes/4711")
