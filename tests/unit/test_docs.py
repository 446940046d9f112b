"""What the documentation says of names, checked against the code."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
from packaging.version import Version

from airflow_provider_trifacta import exceptions
from airflow_provider_trifacta.connection import EXTRA_FIELDS
from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

ROOT = Path(__file__).parents[2]
HAS_RETRY_POLICIES = Version(version("apache-airflow")) >= Version("3.3")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_names_exist(page: Path) -> None:
    text = page.read_text()
    for method in re.findall(r"\bhook\.(\w+)\(", text):
        assert hasattr(TrifactaHook, method), method
    code = "\n".join(file.read_text() for file in (ROOT / "airflow_provider_trifacta").rglob("*.py"))
    for name in set(re.findall(r"\bTrifacta\w+\b", text)) - set(exceptions.__all__):
        assert re.search(rf"class {name}\b", code), name


def _snippets() -> list[Any]:
    return [
        pytest.param(text, id=f"{page.name}-{number}")
        for page in PAGES
        for number, text in enumerate(re.findall(r"```python\n(.*?)```", page.read_text(), re.DOTALL))
    ]


@pytest.mark.parametrize("snippet", _snippets())
def test_snippets_have_all_that_they_name(snippet: str, tmp_path: Path) -> None:
    """A snippet that is pasted into a file has every name it uses, and what it imports from here exists."""
    (tmp_path / "snippet.py").write_text(snippet)
    checked = subprocess.run(
        [sys.executable, "-m", "ruff", "check", "--isolated", "--select", "F821", "snippet.py"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr
    for node in ast.walk(ast.parse(snippet)):
        if isinstance(node, ast.ImportFrom) and str(node.module).startswith("airflow_provider_trifacta"):
            if str(node.module) == "airflow_provider_trifacta.retry_policy" and not HAS_RETRY_POLICIES:
                continue
            module = importlib.import_module(str(node.module))
            assert [alias.name for alias in node.names if not hasattr(module, alias.name)] == []


def test_the_tree_is_the_tree() -> None:
    """Contributors are shown every module of every room, except that only some of the emulator's are named."""
    page = (ROOT / "CONTRIBUTING.md").read_text()
    text = page.partition("## The tree")[2].split("```")[1].strip()
    shown: set[Path] = set()
    folders: list[str] = []
    for line in text.splitlines():
        depth = (len(line) - len(line.lstrip())) // 2
        name = line.split()[0].rstrip(",")
        if name.endswith("/"):
            folders[depth:] = [name]
        shown |= {Path(*folders[:depth], module) for module in re.findall(r"\w+\.py\b", line)}
    package = ROOT / "airflow_provider_trifacta"
    there = {file.relative_to(ROOT) for file in package.rglob("*.py") if not file.name.startswith("__")}
    emulator = {file for file in there if "emulator" in file.parts}
    assert shown - there == set()
    assert there - emulator - shown == set()


def test_every_example_dag_is_shown_and_run() -> None:
    """Those that replace a token need connections of their own: other tests run their operators."""
    shown = (ROOT / "docs" / "examples.md").read_text()
    system_tests = "\n".join(file.read_text() for file in (ROOT / "tests" / "system").glob("test_*.py"))
    for file in (ROOT / "example_dags").glob("*.py"):
        assert f"../example_dags/{file.name}" in shown
        assert file.stem.startswith(("trifacta_rotate_", "trifacta_keep_")) or f'"{file.stem}"' in system_tests


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

    pages = [(ROOT / "docs" / name).read_text() for name in ("connect.md", "alteryx-one.md")]
    shown = [re.findall(r"'(\{\"conn_type\".*?\})'", page) for page in pages]
    assert all(shown)
    for text in chain.from_iterable(shown):
        fields = json.loads(text)
        connection = type("Connection", (), {"extra": json.dumps(fields["extra"])})
        assert extra_of(connection)  # type: ignore[arg-type]
        assert set(fields["extra"]) <= set(EXTRA_FIELDS)


@pytest.mark.parametrize("target", ["demo", "test"])
def test_make_says_first_how_long_it_takes(target: str) -> None:
    # Not as a part of the make that runs the tests.
    alone = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    planned = subprocess.run(
        ["make", "--dry-run", target], cwd=ROOT, env=alone, capture_output=True, text=True, check=True
    ).stdout
    first = planned.splitlines()[0]
    assert f"make {target}: about" in first
    assert "minutes" in first


def test_up_says_what_to_do_next(tmp_path: Path, emulator: Emulator) -> None:
    import up
    from airflow_instance import AirflowInstance

    airflow = AirflowInstance(tmp_path, ROOT / "example_dags", with_ui=True, settings=up.LIST_DAGS)
    said = "\n".join(up.guide(airflow, emulator, oauth=False))
    assert "trifacta_keep_oauth_token" not in said
    said = "\n".join(up.guide(airflow, emulator, oauth=True))
    for text in ("trifacta_keep_oauth_token", f"{emulator.url}/oauth2-api-tokens", up.TOKEN_VARIABLE):
        assert text in said
    for text in ("trifacta_run_and_wait", str(ROOT / "example_dags"), str(tmp_path / "logs"), airflow.url):
        assert text in said
    assert all(int(seconds) <= 15 for seconds in up.LIST_DAGS.values())
