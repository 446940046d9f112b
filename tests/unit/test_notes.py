from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider_trifacta.tasks.notes import KEY, AttemptNote, NoNotes, TaskStateNotes, notes_of

NOTE = AttemptNote("series", 2, "execution", 1.5, 3, None, (5,))


class Store(dict[str, Any]):
    def set(self, key: str, value: Any) -> None:
        self[key] = value


def test_what_is_written_is_read() -> None:
    notes = notes_of({"task_state_store": Store()})
    assert isinstance(notes, TaskStateNotes)
    assert notes.read() is None
    for note in (replace(NOTE, sent=False), NOTE, replace(NOTE, run_id=7)):
        notes.write(note)
        assert notes.read() == note
    assert note.runs == (5, 7)


def test_the_form_in_the_store_stays() -> None:
    store = Store()
    TaskStateNotes(store).write(NOTE)
    assert store == {
        "trifacta_job_group": {
            "series": "series",
            "number": 2,
            "execution_id": "execution",
            "sent_at": 1.5,
            "try_number": 3,
            "job_group_id": None,
            "ended": [5],
        }
    }


def test_fields_of_a_later_version_are_ignored() -> None:
    store = Store()
    TaskStateNotes(store).write(NOTE)
    store[KEY]["colour"] = "green"
    assert TaskStateNotes(store).read() == NOTE


@pytest.mark.parametrize("value", ["text", 7, [], {}, {"series": "s"}, {"number": "two"}])
def test_what_is_no_note_counts_as_none(value: Any, caplog: pytest.LogCaptureFixture) -> None:
    assert TaskStateNotes(Store({KEY: value})).read() is None
    assert "cannot be read and is ignored" in caplog.text


def test_an_airflow_without_a_place_for_notes() -> None:
    notes = notes_of({"ti": object()})
    notes.write(NOTE)
    assert isinstance(notes, NoNotes)
    assert notes.read() is None
