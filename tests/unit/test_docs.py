"""What the documentation says of names, checked against the code."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from airflow_provider_trifacta import exceptions
from airflow_provider_trifacta.connection import EXTRA_FIELDS
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_exist(page: Path) -> None:
    text = page.read_text()
    for method in re.findall(r"\bhook\.(\w+)\(", text):
        assert hasattr(TrifactaHook, method), method
    code = "\n".join(file.read_text() for file in (ROOT / "airflow_provider_trifacta").rglob("*.py"))
    for name in set(re.findall(r"\bTrifacta\w+\b", text)) - set(exceptions.__all__):
        assert re.search(rf"class {name}\b", code), name


def test_every_setting_is_in_the_readme() -> None:
    text = (ROOT / "README.md").read_text()
    assert [name for name in EXTRA_FIELDS if f"`{name}`" not in text] == []


def test_what_google_calls_things() -> None:
    folder = os.environ.get("GOOGLE_PROVIDER")
    if not folder:
        pytest.skip("GOOGLE_PROVIDER is not set: run with make")
    cloud = Path(folder) / "airflow" / "providers" / "google" / "cloud"
    code = "\n".join((cloud / kind / "dataprep.py").read_text() for kind in ("hooks", "operators", "sensors"))
    page = (ROOT / "docs" / "from-dataprep.md").read_text()
    named = set(re.findall(r"\bDataprep\w+(?:Operator|Sensor)\b", page))
    assert named == set(re.findall(r"^class (Dataprep\w+)", code, re.MULTILINE))
    for method in re.findall(r"^    def ([a-z]\w+)\(", code, re.MULTILINE):
        assert method in {"execute", "poke"} or method in page, method


def test_connections_shown_are_valid() -> None:
    from airflow_provider_trifacta.connection import extra_of

    shown = re.findall(r"'(\{\"conn_type\".*?\})'", (ROOT / "docs" / "connect.md").read_text())
    assert shown
    for text in shown:
        fields = json.loads(text)
        connection = type("Connection", (), {"extra": json.dumps(fields["extra"])})
        assert extra_of(connection)  # type: ignore[arg-type]
        assert set(fields["extra"]) <= set(EXTRA_FIELDS)
