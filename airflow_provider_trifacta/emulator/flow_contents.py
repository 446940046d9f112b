"""A flow with everything that belongs to it, to copy or export."""

from __future__ import annotations

from airflow_provider_trifacta.emulator import crud
from airflow_provider_trifacta.emulator.state import Row, State, shown

#: Fields that a copy does not take over.
_OWN_FIELDS = ("id", "createdAt", "updatedAt", "creator", "updater", "outputobject")


def contents_of(state: State, flow: Row) -> Row:
    """Return a flow with its recipes, outputs and write settings, as a package holds it."""
    recipes = []
    for recipe in state.rows("wrangledDatasets"):
        if recipe["flow"]["id"] != flow["id"]:
            continue
        outputs = [
            {
                **{key: output.get(key) for key in ("name", "execution", "profiler", "isAdhoc")},
                **{
                    table: [
                        {k: v for k, v in shown(row).items() if k not in _OWN_FIELDS}
                        for row in state.rows(table)
                        if row["_output"]["id"] == output["id"]
                    ]
                    for table in ("writeSettings", "publications")
                },
            }
            for output in state.rows("outputObjects")
            if output["flownode"]["id"] == recipe["id"]
        ]
        recipes.append(
            {
                "name": recipe["name"],
                "source": recipe["_source"],
                "behaviour": recipe["_behaviour"],
                "outputs": outputs,
            }
        )
    return {"name": flow["name"], "description": flow["description"], "recipes": recipes}


def insert_flow(state: State, contents: Row, person: int, name: str, description: str | None) -> Row:
    """Create a flow with its recipes and outputs from such contents."""
    flow = crud.create(state, "flows", {"name": name, "description": description}, person)
    for recipe in contents["recipes"]:
        row = crud.create(
            state,
            "wrangledDatasets",
            {
                "name": recipe["name"],
                "flow": {"id": flow["id"]},
                "_behaviour": recipe["behaviour"],
                **recipe["source"],
            },
            person,
        )
        for output in recipe["outputs"]:
            crud.create(state, "outputObjects", {**output, "flowNodeId": row["id"]}, person)
    return flow
