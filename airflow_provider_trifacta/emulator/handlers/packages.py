"""Packages: flows as files."""

from __future__ import annotations

import copy
import email.parser
import email.policy
import io
import json
import zipfile
from typing import Any

from airflow_provider_trifacta.emulator.flow_contents import contents_of, insert_flow
from airflow_provider_trifacta.emulator.handlers.base import Call, Content, Handlers, handles
from airflow_provider_trifacta.emulator.jsontext import decoded
from airflow_provider_trifacta.emulator.problems import Problem
from airflow_provider_trifacta.emulator.state import Row, shown


@handles("getFlowPackage")
def _get_flow_package(self: Handlers, call: Call) -> Any:
    contents = contents_of(self.state, self.state.get("flows", call.id))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as package:
        package.writestr("data", json.dumps(contents))
    return Content(call.operation.produces, buffer.getvalue())


@handles("getFlowPackageDryRun")
def _get_flow_package_dry_run(self: Handlers, call: Call) -> Any:
    self.state.get("flows", call.id)
    return {}


@handles("importPackage", "importPackageDryRun")
def _import_package(self: Handlers, call: Call) -> Any:
    contents = _package_of(call)
    if call.operation.id == "importPackageDryRun":
        return {"primaryFlowIds": [], "flows": [{"id": 0, "name": contents["name"]}]}
    before = copy.deepcopy(self.state.tables)
    try:
        flow = insert_flow(self.state, contents, call.person, contents["name"], contents["description"])
    except Exception:
        self.state.tables = before
        raise
    return {"primaryFlowIds": [flow["id"]], "flows": [shown(flow)]}


def _package_of(call: Call) -> Row:
    """Read the flow from an uploaded package."""
    header = f"Content-Type: {call.headers.get('content-type', '')}\r\n\r\n".encode()
    message = email.parser.BytesParser(policy=email.policy.HTTP).parsebytes(header + call.raw)
    for part in message.iter_parts() if message.is_multipart() else ():
        if part.get_param("name", header="content-disposition") in ("data", "File"):
            try:
                payload = part.get_payload(decode=True)
                with zipfile.ZipFile(io.BytesIO(payload if isinstance(payload, bytes) else b"")) as package:
                    contents: Row = decoded(package.read("data"))
                return contents
            except (zipfile.BadZipFile, KeyError, ValueError):
                raise Problem.validation("data: not a package of this server") from None
    raise Problem.validation("data: the part with the package is missing")
