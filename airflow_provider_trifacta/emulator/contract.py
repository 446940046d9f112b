"""The contract (``openapi.json``): the operations, and what a request must look like."""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from typing import Any
from urllib.parse import unquote

from jsonschema import Draft202012Validator

from airflow_provider_trifacta.emulator.problems import Problem


@dataclass(frozen=True)
class Quota:
    """Requests per minute."""

    user: int
    workspace: int


@dataclass(frozen=True)
class Operation:
    """One operation of the contract.

    :param path: template, ``/v4/jobGroups/{id}``.
    :param success: the documented status of a success.
    """

    id: str
    method: str
    path: str
    success: int
    produces: str
    quota: Quota | None = None
    parameters: Mapping[str, Draft202012Validator] = field(default_factory=dict, repr=False)
    query: Mapping[str, Draft202012Validator] = field(default_factory=dict, repr=False)
    body: Draft202012Validator | None = field(default=None, repr=False)
    body_required: bool = False
    consumes: str | None = None

    @property
    def resource(self) -> str:
        """The resource, ``jobGroups``."""
        return self.path.split("/")[2]

    @functools.cached_property
    def pattern(self) -> re.Pattern[str]:
        """Matches the paths of this operation."""
        return re.compile(re.sub(r"\\\{(\w+)\\\}", r"(?P<\1>[^/]+)", re.escape(self.path)))

    def check_query(self, query: Mapping[str, str]) -> dict[str, Any]:
        """Return the known query parameters with their types.

        :raises Problem: 400, a value is not allowed.
        """
        values: dict[str, Any] = {}
        for name, validator in self.query.items():
            if name in query:
                values[name] = _checked(name, query[name], validator)
        return values

    def check_path(self, parameters: Mapping[str, str]) -> dict[str, Any]:
        """Return the path parameters with their types.

        :raises Problem: 400, a value is not allowed.
        """
        return {name: _checked(name, value, self.parameters[name]) for name, value in parameters.items()}

    def check_body(self, body: Any) -> None:
        """Check a decoded JSON body.

        :raises Problem: 400, naming the first thing that is wrong.
        """
        if self.body is None:
            return
        for error in self.body.iter_errors(body):
            where = "/".join(str(part) for part in error.absolute_path) or "body"
            raise Problem.validation(f"{where}: {error.message}"[:500])


_BOOLEANS = {"true": True, "1": True, "false": False, "0": False}


def is_true(value: object) -> bool:
    """Return whether a query parameter that the contract describes as a string is true."""
    return _BOOLEANS.get(str(value).lower(), False)


def _checked(name: str, text: str, validator: Draft202012Validator) -> Any:
    """Return a parameter, read the way its schema allows."""
    candidates: list[Any] = [text]
    if re.fullmatch(r"-?\d{1,18}", text):
        candidates.insert(0, int(text))
    # The vendor's generated Python client sends "True".
    if text.lower() in _BOOLEANS:
        candidates.append(_BOOLEANS[text.lower()])
    for candidate in candidates:
        if validator.is_valid(candidate):
            return candidate
    raise Problem.validation(f"{name}: {text!r} is not allowed")


@functools.cache
def contract() -> Contract:
    """Return the contract, read once: a test run starts thousands of servers."""
    return Contract()


class Contract:
    """All operations of the contract."""

    def __init__(self) -> None:
        text = resources.files(__package__).joinpath("openapi.json").read_text("utf-8")
        self.document: dict[str, Any] = json.loads(text)
        self.operations = {operation.id: operation for operation in self._operations()}

    def find(self, method: str, path: str) -> tuple[Operation, dict[str, str]] | None:
        """Return the operation for a path as it was sent, and the path parameters."""
        found = None
        for operation in self.operations.values():
            match = operation.pattern.fullmatch(path) if operation.method == method else None
            if match:
                found = operation, {name: unquote(value) for name, value in match.groupdict().items()}
                if "{" not in operation.path:  # "/v4/flows/count" is not a flow
                    break
        return found

    def _operations(self) -> list[Operation]:
        operations = []
        for path, item in self.document["paths"].items():
            for method, described in item.items():
                if method == "parameters":
                    continue
                parameters = [
                    self._resolved(p) for p in [*item.get("parameters", []), *described.get("parameters", [])]
                ]
                body = described.get("requestBody")
                consumes = next(iter(body["content"])) if body else None
                success = min(int(code) for code in described["responses"] if code.startswith("2"))
                produced = described["responses"][str(success)].get("content", {})
                quota = described.get("x-quota")
                operations.append(
                    Operation(
                        id=described["operationId"],
                        method=method.upper(),
                        path=path,
                        success=success,
                        produces=next(iter(produced), "application/json"),
                        quota=Quota(quota["perUserPerMinute"], quota["perWorkspacePerMinute"]) if quota else None,
                        parameters=self._validators(parameters, "path"),
                        query=self._validators(parameters, "query"),
                        body=(
                            self._validator(body["content"][consumes]["schema"])
                            if consumes == "application/json"
                            else None
                        ),
                        body_required=bool(body and body.get("required")),
                        consumes=consumes,
                    )
                )
        return operations

    def _resolved(self, value: dict[str, Any]) -> dict[str, Any]:
        reference = value.get("$ref")
        if reference is None:
            return value
        resolved: Any = self.document
        for part in reference.removeprefix("#/").split("/"):
            resolved = resolved[part]
        return dict(resolved)

    def _validators(self, parameters: list[dict[str, Any]], place: str) -> dict[str, Draft202012Validator]:
        return {p["name"]: self._validator(p["schema"]) for p in parameters if p["in"] == place}

    def _validator(self, schema: dict[str, Any]) -> Draft202012Validator:
        # References are local, so the components are added to the schema.
        return Draft202012Validator({**schema, "components": self.document["components"]})
