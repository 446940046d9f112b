from __future__ import annotations

import asyncio
import re
import sys
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from packaging.version import Version

from airflow_provider_trifacta.airflow_support import compat
from airflow_provider_trifacta.airflow_support.files import target_of
from airflow_provider_trifacta.exceptions import TrifactaConfigurationError
from airflow_provider_trifacta.hooks.trifacta import TrifactaHook

ROOT = Path(__file__).parents[2]
MENDED = Version(version("apache-airflow")) >= Version("3.3.2")


@pytest.mark.parametrize("name", sorted(compat._PLACES))
def test_this_airflow_has_every_name(name: str) -> None:
    assert getattr(compat, name) is not None


def test_a_name_that_nothing_has() -> None:
    with pytest.raises(ImportError, match="Nonsense"):
        from airflow_provider_trifacta.airflow_support.compat import Nonsense  # type: ignore[attr-defined] # noqa: F401


@pytest.mark.skipif(not version("apache-airflow").startswith("2."), reason="Airflow 3 has it")
def test_what_airflow_2_lacks_is_said() -> None:
    with pytest.raises(ImportError, match=r"triggers\.events needs Airflow 3\.0 or later"):
        import airflow_provider_trifacta.triggers.events  # noqa: F401


def test_the_retry_policy_says_which_airflow_it_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name is part of no version before 3.3, so a DAG that asks for it is told why."""
    monkeypatch.delitem(sys.modules, "airflow_provider_trifacta.retry_policy", raising=False)
    monkeypatch.setitem(sys.modules, "airflow.sdk", ModuleType("airflow.sdk"))
    with pytest.raises(ImportError, match=r"needs Airflow 3\.3 or later.*this is Airflow [23]\.\d"):
        import_module("airflow_provider_trifacta.retry_policy")


def test_no_provider_of_airflow_is_needed_that_its_constraints_hold_back() -> None:
    """Only OpenLineage's, by modules that are imported where it calls them."""
    files = [*(ROOT / "airflow_provider_trifacta").rglob("*.py"), *(ROOT / "example_dags").glob("*.py")]
    needed = re.compile(r"(import|from) airflow\.providers(?!\.openlineage)")
    assert [file.name for file in files if needed.search(file.read_text())] == []


def test_a_connection_is_read_asynchronously_where_airflow_can(monkeypatch: pytest.MonkeyPatch) -> None:
    """From Airflow 3.1 to 3.3.1 its asynchronous way asks synchronously, within the event loop."""
    ways: list[str] = []

    class Hook(TrifactaHook):
        @classmethod
        def get_connection(cls, conn_id: str) -> Any:
            with pytest.raises(RuntimeError, match="no running event loop"):
                asyncio.get_running_loop()
            ways.append(f"in a thread: {conn_id}")

        @classmethod
        async def aget_connection(cls, conn_id: str) -> Any:
            ways.append(f"asynchronously: {conn_id}")

    asyncio.run(compat.get_connection_asynchronously(Hook(), "here"))
    assert ways == ["asynchronously: here" if MENDED else "in a thread: here"]


@pytest.mark.parametrize(
    ("airflow", "universal_pathlib", "advice"),
    [
        ("3.0.6", "0.3.10", "'universal-pathlib<0.3'"),
        ("2.11.0", "0.3.0", "'universal-pathlib<0.3'"),
        ("3.0.6", "0.2.6", "Install the provider for this storage"),
        ("3.2.0b1", "0.3.10", "Install the provider for this storage"),
        ("3.3.2", "0.3.10", "Install the provider for this storage"),
    ],
)
def test_a_storage_that_this_airflow_cannot_write_to_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, airflow: str, universal_pathlib: str, advice: str
) -> None:
    versions = {"apache-airflow": airflow, "universal-pathlib": universal_pathlib}
    monkeypatch.setattr(compat, "version", versions.__getitem__)
    with pytest.raises(TrifactaConfigurationError, match=advice):
        target_of("profile_pdf_path", "nowhere://bucket/profile.pdf")
