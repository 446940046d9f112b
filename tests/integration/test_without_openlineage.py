"""Where OpenLineage is not installed, nothing of it is imported, and nothing costs anything."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import pytest
from kinds import KINDS, Kind
from support import FakeTaskInstance, run_deferred

from airflow_provider_trifacta.emulator import Emulator


@pytest.mark.parametrize("kind", KINDS, ids=repr)
@pytest.mark.parametrize("deferrable", [False, True], ids=["sync", "deferred"])
def test_tasks_do_without_it(
    kind: Kind,
    deferrable: bool,
    emulator: Emulator,
    connect: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("openlineage", "openlineage.client", "airflow.providers.openlineage"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.delitem(sys.modules, "airflow_provider_trifacta.tasks.lineage", raising=False)
    connect(emulator)
    emulator.change_settings(pace="at-once")
    arguments: dict[str, Any] = {"poll_interval": 0.02, "deferrable": deferrable, **kind.arguments}
    run_deferred(kind.operator(task_id="task", **arguments), {"ti": FakeTaskInstance()})
    assert emulator.calls("getJobGroupInputs") == []
    assert "airflow_provider_trifacta.tasks.lineage" not in sys.modules
