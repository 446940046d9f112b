"""The initial objects of a new server, so that something can be run without creating anything first."""

from __future__ import annotations

import base64
import json
import secrets
import uuid
from typing import NamedTuple

from airflow_provider_trifacta.emulator.clock import timestamp
from airflow_provider_trifacta.emulator.state import WORKSPACE, Row, State

PERSON = 17
FLOW = 301
PLAN = 88


class Recipe(NamedTuple):
    """A recipe of a new server, with an output.

    :param behaviour: how its job groups progress.
    """

    id: int
    name: str
    behaviour: str
    publishes: bool = False
    profiled: bool = False


class Flow(NamedTuple):
    """A flow of a new server."""

    id: int
    name: str
    description: str
    recipes: tuple[Recipe, ...]


RECIPES = (
    Recipe(7, "Orders clean", "complete", profiled=True),
    Recipe(8, "Orders broken", "fail-wrangle"),
    Recipe(9, "Orders endless", "endless"),
    Recipe(10, "Orders publish", "fail-publish", publishes=True),
    Recipe(11, "Orders queued", "pending"),
)
FLOWS = (
    Flow(FLOW, "Orders nightly", "Loads the order mart", RECIPES),
    Flow(
        302,
        "Customers weekly",
        "All its outputs complete",
        (Recipe(21, "Customers clean", "complete"), Recipe(22, "Customers totals", "complete")),
    ),
    Flow(303, "Archive", "Has no output", ()),
    Flow(
        304,
        "Returns",
        "One of its outputs fails",
        (Recipe(31, "Returns clean", "complete"), Recipe(32, "Returns broken", "fail-wrangle")),
    ),
)
#: Plan id, name, and the flows that its nodes run.
PLANS = ((PLAN, "Nightly", (FLOW,)), (89, "Weekly", (302,)), (90, "Monthly", (302, 304)))


def add_person(state: State, email: str, identity: int | None = None) -> Row:
    """Add a user."""
    person = state.new_id() if identity is None else identity
    row: Row = {
        "email": email,
        "name": email.partition("@")[0].title(),
        "isDisabled": False,
        "state": "active",
        "outputHomeDir": f"/queryResults/{email}",
        "uploadDir": "/uploads",
        "lastLoginTime": None,
        "lastStateChange": None,
        "maximalPrivileges": [],
    }
    return state.insert("people", row, person=person, identity=person)


def add_token(
    state: State,
    person: int,
    *,
    lifetime_seconds: int = -1,
    description: str | None = None,
    value: str | None = None,
    opaque: bool = False,
) -> Row:
    """Add an API access token. Its value is the field ``_value``.

    :param opaque: whether the value does not contain the id of the token.
    """
    token_id = str(uuid.uuid4())
    if value is None and opaque:
        value = f"eyJ{secrets.token_hex(32)}"
    elif value is None:
        secret = {"tokenId": token_id, "secret": secrets.token_hex(24)}
        value = base64.b64encode(json.dumps(secret).encode()).decode()
    now = state.clock.now()
    row: Row = {
        "tokenId": token_id,
        "description": description,
        "expiredAt": None if lifetime_seconds == -1 else timestamp(now + lifetime_seconds),
        "lastUsed": None,
        "createdAt": timestamp(now),
        "_person": person,
        "_value": value,
    }
    state.tables.setdefault("apiAccessTokens", {})[token_id] = row
    return row


def create(state: State, *, token: str | None = None) -> None:
    """Fill an empty state.

    :param token: the value of the first token; a random one when None.
    """
    add_person(state, "emulator@example.com", PERSON)
    add_token(state, PERSON, description="created by the emulator at startup", value=token)
    for flow in FLOWS:
        _add_flow(state, flow)
    for plan_id, name, flow_ids in PLANS:
        _add_plan(state, plan_id, name, flow_ids)


def _add_flow(state: State, flow: Flow) -> None:
    state.insert(
        "flows",
        {
            "name": flow.name,
            "description": flow.description,
            "folder": None,
            "defaultOutputDir": None,
            "settings": None,
            "workspace": {"id": WORKSPACE},
        },
        person=PERSON,
        identity=flow.id,
    )
    for recipe in flow.recipes:
        _add_recipe(state, flow, recipe)


def _add_recipe(state: State, flow: Flow, recipe: Recipe) -> None:
    path = f"raw/orders_{recipe.id}.csv"
    source = state.insert(
        "importedDatasets",
        {
            "name": f"orders_raw_{recipe.id}",
            "description": None,
            "type": "s3",
            "isDynamic": False,
            "isConverted": False,
            "disableTypeInference": False,
            "dynamicPath": None,
            "storageLocation": {"type": "s3", "fullUri": f"s3://example-bucket/{path}"},
            "workspace": {"id": WORKSPACE},
        },
        person=PERSON,
    )
    state.insert(
        "wrangledDatasets",
        {
            "name": recipe.name,
            "description": None,
            "wrangled": True,
            "flow": {"id": flow.id},
            "recipe": {"id": recipe.id},
            "activeSample": None,
            "referenceinfo": None,
            "_source": {"importedDataset": {"id": source["id"]}},
            "_behaviour": recipe.behaviour,
        },
        person=PERSON,
        identity=recipe.id,
    )
    output = state.insert(
        "outputObjects",
        {
            "name": f"{recipe.name} output",
            "description": None,
            "execution": "photon",
            "profiler": recipe.profiled,
            "isAdhoc": True,
            "flownode": {"id": recipe.id},
        },
        person=PERSON,
    )
    state.insert(
        "writeSettings",
        {
            "path": f"s3://example-bucket/orders/out_{recipe.id}.csv",
            "action": "create",
            "format": "csv",
            "compression": "none",
            "header": True,
            "asSingleFile": True,
            "delim": ",",
            "hasQuotes": False,
            "includeMismatches": True,
            "connectionId": None,
            "_output": {"id": output["id"]},
        },
        person=PERSON,
    )
    if recipe.publishes:
        state.insert(
            "publications",
            {
                "path": ["analytics"],
                "tableName": "orders",
                "targetType": "postgres",
                "action": "truncateAndLoad",
                "outputobject": {"id": output["id"]},
                "connection": None,
                "parameters": None,
                "_output": {"id": output["id"]},
            },
            person=PERSON,
        )


def _add_plan(state: State, plan_id: int, name: str, flow_ids: tuple[int, ...]) -> None:
    state.insert(
        "plans",
        {
            "name": name,
            "description": None,
            "workspace": {"id": WORKSPACE},
            "snapshotted": False,
            "originalPlanId": None,
            "planSnapshotRunCount": 0,
            "notificationsEnabled": False,
            "planNodes": {
                "data": [
                    {"id": plan_id * 10 + n, "name": f"flow-{n}", "taskType": "flow", "flow": {"id": flow_id}}
                    for n, flow_id in enumerate(flow_ids, 1)
                ]
            },
        },
        person=PERSON,
        identity=plan_id,
    )
