from __future__ import annotations

import tomllib
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]


def test_the_lowest_versions_that_are_promised_are_those_that_are_tested() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    promised = [
        Requirement(text) for text in project["dependencies"] + project["optional-dependencies"]["emulator"]
    ]
    pins = dict(
        line.split("==")
        for line in (ROOT / "constraints" / "lowest.txt").read_text().splitlines()
        if line[:1] != "#"
    )
    tested = {canonicalize_name(name): Version(version) for name, version in pins.items()}
    for requirement in promised:
        (bound,) = requirement.specifier
        assert bound.operator == ">="
        assert tested[canonicalize_name(requirement.name)] == Version(bound.version), (
            "make constraints AIRFLOW=lowest"
        )
