from __future__ import annotations

import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PINNED = sorted((ROOT / "constraints").glob("airflow-*.txt"))


def promised() -> list[Requirement]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    optional = project["optional-dependencies"]
    return [Requirement(text) for text in project["dependencies"] + optional["emulator"] + optional["openlineage"]]


def pins(file: Path) -> dict[str, Version]:
    lines = [line for line in file.read_text().splitlines() if line[:1] != "#"]
    return {canonicalize_name(name): Version(version) for name, version in (line.split("==") for line in lines)}


def test_the_lowest_versions_that_are_promised_are_those_that_are_tested() -> None:
    tested = pins(ROOT / "constraints" / "lowest.txt")
    for requirement in promised():
        (bound,) = requirement.specifier
        assert bound.operator == ">="
        assert tested[canonicalize_name(requirement.name)] == Version(bound.version), (
            "make constraints AIRFLOW=lowest"
        )


def test_every_promised_version_of_airflow_has_pins() -> None:
    assert {"2.11.2", "3.0.6", "3.1.8", "3.2.2", "3.3.2"} <= {
        file.stem.removeprefix("airflow-") for file in PINNED
    }


@pytest.mark.parametrize("file", PINNED, ids=lambda file: file.stem)
def test_nothing_is_asked_for_that_is_newer_than_an_airflow(file: Path) -> None:
    pinned = pins(file)
    assert pinned["apache-airflow"] == Version(file.stem.removeprefix("airflow-"))
    for requirement in promised():
        version = pinned[canonicalize_name(requirement.name)]
        assert requirement.specifier.contains(version, prereleases=True), (
            f"{requirement}: {file.name} has {version}"
        )
