from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_trifacta.api.ids import id_of, same_id


@pytest.mark.parametrize("value", [1, 90210, 2**63 - 1])
def test_an_id_is_a_number_or_its_digits(value: int) -> None:
    assert id_of(value) == value
    assert id_of(str(value)) == value


@pytest.mark.parametrize(
    "value",
    [
        None, True, False, 0, -1, 7.0, 7.9, 2**63, 10**30, "", "0", "-1", "+7", "7.9", "1_000", " 7", "7\n", "007",
        "\uff17", "\u0667", str(2**63), "9" * 5000, "1e3", "0x7", "null", b"7", [7], {"id": 7}, float("nan"),
    ],
)  # fmt: skip
def test_nothing_else_is_an_id(value: Any) -> None:
    assert id_of(value) is None


def test_ids_are_compared_where_they_can_be() -> None:
    assert same_id("7", "7") is True
    assert same_id("7", "8") is False
    assert same_id("p-7", "p-8") is False
    assert same_id("17", "person@example.com") is None
    assert same_id(None, "7") is None
    assert same_id("7", None) is None
