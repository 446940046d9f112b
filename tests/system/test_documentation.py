"""The page about testing one's own DAGs, followed to the letter."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.system
PAGE = Path(__file__).parents[2] / "docs" / "test-your-dags.md"
DAG = """
from datetime import datetime

from airflow import DAG

from airflow_provider_trifacta.operators.job_group import TrifactaRunJobGroupOperator

with DAG(dag_id="orders", schedule=None, start_date=datetime(2024, 1, 1)) as dag:
    TrifactaRunJobGroupOperator(
        task_id="run", wrangled_dataset_id=7, run_parameters={"region": "emea"}, deferrable=True
    )
"""


def test_the_tests_that_the_page_shows(tmp_path: Path) -> None:
    page = PAGE.read_text()
    (tests,) = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "my_dags").mkdir()
    (tmp_path / "my_dags" / "__init__.py").touch()
    (tmp_path / "my_dags" / "orders.py").write_text(DAG)
    (tmp_path / "test_orders.py").write_text(tests)
    commands = next(text for text in re.findall(r"```console\n(.*?)```", page, re.DOTALL) if "db migrate" in text)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-ec", commands],
        cwd=tmp_path,
        env={"PATH": path, "HOME": str(tmp_path), "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "4 passed" in done.stdout
