"""Recipes, and the datasets they read."""

from __future__ import annotations

from typing import Any

from airflow_provider_trifacta.emulator import crud
from airflow_provider_trifacta.emulator.handlers.base import Call, Handlers, handles
from airflow_provider_trifacta.emulator.state import shown


@handles("getInputDataset")
def _get_input_dataset(self: Handlers, call: Call) -> Any:
    return self.state.get("wrangledDatasets", call.id)["_source"]


@handles("updateInputDataset")
def _update_input_dataset(self: Handlers, call: Call) -> Any:
    recipe = self.state.get("wrangledDatasets", call.id)
    source = {key: call.body[key] for key in ("importedDataset", "wrangledDataset") if key in call.body}
    for key, reference in source.items():
        self.state.get(f"{key}s", reference["id"])
    recipe["_source"] = source
    self.state.touch(recipe, call.person)
    return shown(recipe)


@handles("addImportedDatasetToFlow")
def _add_imported_dataset_to_flow(self: Handlers, call: Call) -> Any:
    dataset = self.state.get("importedDatasets", call.id)
    flow = self.state.get("flows", call.body["flow"]["id"])
    body = {
        "name": dataset["name"],
        "flow": {"id": flow["id"]},
        "importedDataset": {"id": dataset["id"]},
        "wrangled": False,
    }
    node = crud.create(self.state, "wrangledDatasets", body, call.person)
    return {key: node[key] for key in ("id", "flow", "recipe", "wrangled")}
