"""The world a new server begins with, so that nothing must be created before something can be run."""

from __future__ import annotations

import base64
import json
import secrets
import uuid

from airflow_provider_trifacta.emulator.clock import timestamp
from airflow_provider_trifacta.emulator.state import WORKSPACE, Row, State

PERSON = 17
FLOW = 301
PLAN = 88

#: Recipe id, name, behaviour, whether it publishes a table, whether it is profiled.
RECIPES = (
    (7, "Orders clean", "complete", False, True),
    (8, "Orders broken", "fail-wrangle", False, False),
    (9, "Orders endless", "endless", False, False),
    (10, "Orders publish", "fail-publish", True, False),
    (11, "Orders queued", "pending", False, False),
)


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

    :param opaque: whether the value does not name the token.
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
    add_token(state, PERSON, description="made by the emulator at start", value=token)
    flow = state.insert(
        "flows",
        {
            "name": "Orders nightly",
            "description": "Loads the order mart",
            "folder": None,
            "defaultOutputDir": None,
            "settings": None,
            "workspace": {"id": WORKSPACE},
        },
        person=PERSON,
        identity=FLOW,
    )
    for recipe_id, name, behaviour, publishes, profiled in RECIPES:
        path = f"raw/orders_{recipe_id}.csv"
        source = state.insert(
            "importedDatasets",
            {
                "name": f"orders_raw_{recipe_id}",
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
        recipe = state.insert(
            "wrangledDatasets",
            {
                "name": name,
                "description": None,
                "wrangled": True,
                "flow": {"id": flow["id"]},
                "recipe": {"id": recipe_id},
                "activeSample": None,
                "referenceinfo": None,
                "_source": {"importedDataset": {"id": source["id"]}},
                "_behaviour": behaviour,
            },
            person=PERSON,
            identity=recipe_id,
        )
        output = state.insert(
            "outputObjects",
            {
                "name": f"{name} output",
                "description": None,
                "execution": "photon",
                "profiler": profiled,
                "isAdhoc": True,
                "flownode": {"id": recipe["id"]},
            },
            person=PERSON,
        )
        state.insert(
            "writeSettings",
            {
                "path": f"s3://example-bucket/orders/out_{recipe_id}.csv",
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
        if publishes:
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
    state.insert(
        "plans",
        {
            "name": "Nightly",
            "description": None,
            "workspace": {"id": WORKSPACE},
            "snapshotted": False,
            "originalPlanId": None,
            "planSnapshotRunCount": 0,
            "notificationsEnabled": False,
            "planNodes": {"data": [{"id": 881, "name": "flow-1", "taskType": "flow", "flow": {"id": flow["id"]}}]},
        },
        person=PERSON,
        identity=PLAN,
    )
