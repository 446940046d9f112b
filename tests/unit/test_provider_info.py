from __future__ import annotations

import importlib
import json
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Any

import airflow
import jsonschema
import pytest

from airflow_provider_trifacta import exceptions
from airflow_provider_trifacta.connection import EXTRA_FIELDS
from airflow_provider_trifacta.get_provider_info import get_provider_info


def test_airflow_accepts_it() -> None:
    schema = json.loads((Path(airflow.__file__).parent / "provider_info.schema.json").read_text())
    jsonschema.validate(get_provider_info(), schema)


def test_it_is_registered() -> None:
    (point,) = [p for p in entry_points(group="apache_airflow_provider") if "trifacta" in p.value]
    assert point.load()()["package-name"] == "airflow-provider-trifacta"


def test_everything_it_names_exists() -> None:
    info = get_provider_info()
    for kind in ("hooks", "operators", "sensors", "triggers"):
        for entry in info[kind]:
            for module in entry["python-modules"]:
                if not module.endswith(".events") or not version("apache-airflow").startswith("2."):
                    importlib.import_module(module)
    for path in [*info["extra-links"], info["connection-types"][0]["hook-class-name"]]:
        module, _, name = path.rpartition(".")
        assert getattr(importlib.import_module(module), name)


def test_the_form_offers_what_the_hook_reads() -> None:
    connection_type = get_provider_info()["connection-types"][0]
    assert list(connection_type["conn-fields"]) == list(EXTRA_FIELDS)
    for field in connection_type["conn-fields"].values():
        assert field["label"]
        assert field["description"].endswith(".")
        jsonschema.Draft202012Validator.check_schema(field["schema"])
        if "default" in field["schema"]:
            jsonschema.validate(field["schema"]["default"], field["schema"])


def test_the_form_asks_to_type_where_there_is_nothing_to_choose() -> None:
    connection_type = get_provider_info()["connection-types"][0]
    for name, field in connection_type["conn-fields"].items():
        # Airflow 3 makes a drop-down of examples, and its placeholder says "Start typing to see options".
        assert not {"examples", "enum"} & set(field["schema"]), name
    for name in ("ca_bundle", "proxy", "token_variable", "credential_store", "application_url"):
        assert "for example" in connection_type["conn-fields"][name]["description"], name


def test_placeholders_are_of_servers_with_access_tokens() -> None:
    placeholders = get_provider_info()["connection-types"][0]["ui-field-behaviour"]["placeholders"]
    assert placeholders["host"] == "https://api.clouddataprep.com"
    assert "443" in placeholders["port"]
    folder = Path(__file__).parents[2]
    for page in ("README.md", "docs/connect.md"):
        for shown in ("conn-host https://us1", '"host": "https://us1', "<token>@us1", "e.g. `https://us1"):
            assert shown not in (folder / page).read_text()


def test_the_form_of_airflow_2() -> None:
    pytest.importorskip("flask_appbuilder")
    from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

    assert list(TrifactaHook.get_connection_form_widgets()) == list(EXTRA_FIELDS)
    assert TrifactaHook.get_ui_field_behaviour()["relabeling"]["password"] == "API access token"


def test_the_error_tree_is_complete() -> None:
    assert sorted(exceptions.__all__) == exceptions.__all__
    for name in exceptions.__all__:
        assert issubclass(getattr(exceptions, name), exceptions.TrifactaError)


@pytest.mark.parametrize(
    "name", sorted({*exceptions.__all__} - {"TrifactaTransportError", "TrifactaSubmitOutcomeUnknown"})
)
def test_errors_cross_process_boundaries(name: str) -> None:
    import pickle

    cls: Any = getattr(exceptions, name)
    if issubclass(cls, exceptions.TrifactaApiError):
        error = cls(method="GET", path="/v4/x", status=400, message="why", request_id="r")
    else:
        error = cls("why")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is cls
    assert str(copy) == str(error)
