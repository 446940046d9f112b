"""Arbitrary sequences of faults, kills, retries, clears and late answers, against two invariants, for each kind.

- Never two active runs of one series.
- Never success without a ``Complete`` run of the present series.

``SEQUENCES`` says how many sequences are tried (100), ``SEQUENCES_SEED`` which; both are printed.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from kinds import FINAL, KINDS, Kind, clear_runs
from simulated_airflow import Process, SimulatedTask
from support import sequences

from airflow_provider_trifacta.emulator import Emulator
from airflow_provider_trifacta.emulator.clock import Clock, epoch
from airflow_provider_trifacta.emulator.writing import Writing

FAULTS = st.one_of(
    st.builds(dict, kind=st.sampled_from(["reset", "cut", "rate_limit"]), after=st.booleans()),
    st.builds(dict, kind=st.just("status"), status=st.sampled_from([500, 502, 503]), after=st.booleans()),
    st.builds(dict, kind=st.just("status"), status=st.sampled_from([401, 403])),
    st.builds(dict, kind=st.just("html"), status=st.sampled_from([200, 404, 502]), after=st.booleans()),
)
#: What an operation is for; ``*`` is every one.
OPERATIONS = st.sampled_from(["submit", "submit", "search", "poll", "details", "*"])
POINTS = st.integers(1, 24)
#: How job groups are written; as documented half of the time.
WRITINGS = st.one_of(
    st.just(asdict(Writing())),
    st.fixed_dictionaries(
        {
            "null_references": st.sampled_from(["null", "null-id", "empty", "absent"]),
            "references": st.sampled_from(["object", "id", "id-field"]),
            "field_names": st.sampled_from(["documented", "camel", "lower"]),
            "ids": st.sampled_from(["number", "string"]),
            "library_recipes": st.booleans(),
        }
    ),
)
SOURCE_WORDS = st.sampled_from(["api", "api", "API", "null", "rest", "ui"])


def _machine(emulator: Emulator) -> type[RuleBasedStateMachine]:
    class Life(RuleBasedStateMachine):
        @initialize(
            kind=st.sampled_from(KINDS),
            deferrable=st.booleans(),
            store=st.booleans(),
            clear_keeps_store=st.booleans(),
            honours=st.booleans(),
            cancel_on_kill=st.sampled_from([True, True, False]),
            lag=st.sampled_from([0, 0, 5, 400]),
            writing=WRITINGS,
            word=SOURCE_WORDS,
        )
        def begin(
            self, *, kind: Kind, honours: bool, lag: float, writing: dict[str, Any], word: str, **options: Any
        ) -> None:
            random.seed(0)  # jitter: what happens must follow from the sequence alone
            emulator.clear_faults()
            clear_runs(emulator)
            emulator.app.journal.clear()
            now = emulator.clock.now()
            emulator.clock.advance(7200 + math.ceil(now) - now)  # a whole second, as in every sequence
            # Where the header is ignored and lists lag, nobody can know that something runs.
            emulator.change_settings(
                pace="seconds=2",
                honour_execution_id=honours,
                library_lag=lag if honours else 0,
                source_word=word,
                **writing,
            )
            self.kind = kind
            kind.behave(emulator)
            self.task = SimulatedTask(emulator, kind=kind, retries=2, retry_budget=300, **options)
            #: Which life of the task (0, and one more at each clear) started each run.
            self.life_of: dict[Any, int] = {}
            self.honours = honours
            self.life = 0
            self.cleared_at = 0.0
            self.notes_survive = options["store"] and options["clear_keeps_store"]
            # Without notes, and with lists that lag for longer than they are waited for, a run of after a clear
            # cannot be told from one of before.
            self.may_be_cleared = options["store"] or lag < 100

        def _run(self, process: Process) -> None:
            self.task.run_try(process)
            for run_id in self.kind.ids(emulator):
                self.life_of.setdefault(run_id, self.life)

        def may_run(self) -> bool:
            return self.task.state in ("none", "up_for_retry")

        @rule(operation=OPERATIONS, fault=FAULTS, call=st.integers(1, 4), times=st.sampled_from([1, 1, 2, 40]))
        def something_will_break(self, operation: str, fault: dict[str, Any], call: int, times: int) -> None:
            emulator.order(self.kind.operation_of(operation), call=call, times=times, **fault)

        @rule()
        def what_was_broken_is_mended(self) -> None:
            emulator.clear_faults()

        @rule(behaviour=st.sampled_from(["complete", "fail-wrangle"]))
        def the_recipe_changes(self, behaviour: str) -> None:
            self.kind.behave(emulator, behaviour)

        @rule(seconds=st.sampled_from([1, 30, 900]))
        def time_passes(self, seconds: float) -> None:
            emulator.clock.advance(seconds)

        @precondition(may_run)
        @rule()
        def a_try(self) -> None:
            self._run(Process())

        @precondition(may_run)
        @rule(point=POINTS)
        def a_try_that_is_killed(self, point: int) -> None:
            self._run(Process(kill_at=point))

        @precondition(may_run)
        @rule()
        def a_try_that_is_killed_while_it_waits(self) -> None:
            self._run(Process(kill_waiting=True))

        # Where the header is ignored, nobody can stop a submit that was decided on before the other's.
        @precondition(lambda self: self.may_run() and self.honours)
        @rule(point=POINTS)
        def a_try_that_comes_back_after_the_next_has_begun(self, point: int) -> None:
            task = self.task

            class Zombie(Process):
                def event(self, name: str) -> None:
                    super().event(name)
                    if len(self.events) == point and task.try_number <= task.max_tries:
                        task.state = "up_for_retry"
                        with ThreadPoolExecutor(1) as elsewhere:
                            elsewhere.submit(task.run_try).result()

            self._run(Zombie())

        @rule(cancels=st.booleans())
        def a_person_clears_the_task(self, cancels: bool) -> None:
            if self.task.state == "none" or not self.may_be_cleared:
                return
            if cancels and self.task.cancel_on_kill:
                self.kind.cancel(emulator)
            emulator.clock.advance(10)  # a person is not quicker; clocks of two machines may differ by less
            self.task.clear()
            self.life += 1
            self.cleared_at = emulator.clock.now()

        @invariant()
        def never_two_active_runs_of_one_series(self) -> None:
            runs = zip(self.kind.ids(emulator), self.kind.statuses(emulator), strict=True)
            active = [self.life_of[run_id] for run_id, status in runs if status not in FINAL]
            assert len(active) == len(set(active)), active

        @invariant()
        def never_success_without_complete(self) -> None:
            if self.task.state == "success":
                row = emulator.state.get(self.kind.table, self.task.returned)
                assert self.kind.status_of(emulator, row) == "Complete"
                if self.notes_survive:
                    assert self.life_of[row["id"]] == self.life
                else:
                    # Without a note, what still ran after a clear cannot be told from the task's own.
                    ended = max(epoch(part["updatedAt"]) for part in self.kind.job_groups_of(emulator, row))
                    assert ended >= self.cleared_at

    return Life


def test_sequences(connect: Callable[..., None], capsys: pytest.CaptureFixture[str]) -> None:
    number, start = sequences()
    with capsys.disabled():
        print(f"\n{number} sequences, SEQUENCES_SEED={start}")
    with Emulator(enforce_quotas=False, clock=Clock(lambda: 1.8e9)) as emulator:
        connect(emulator)
        machine = seed(start)(_machine(emulator))
        run_state_machine_as_test(  # type: ignore[no-untyped-call]
            machine,
            settings=settings(
                max_examples=number,
                stateful_step_count=10,
                deadline=None,
                database=None,
                suppress_health_check=list(HealthCheck),
                phases=[Phase.generate, Phase.shrink],
                print_blob=True,
            ),
        )
