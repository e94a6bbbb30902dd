"""What every engine must keep; inherited by the tests of each."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from aczerots.engine.base import Engine, Failure
from aczerots.errors import AczerotsError, InputError


@dataclass(frozen=True)
class Squares:
    """Squares numbers and notes each as a file.

    Attributes:
        folder: Where notes go.
        bad: Raises an InputError.
        odd: Raises a defect.
        kills: Kills the process that does it, as long as the file ``killed-N`` with the number of times is short.
        times: How often.
    """

    folder: str
    bad: int = -1
    odd: int = -1
    kills: int = -1
    times: int = 0
    closed: bool = False

    def open(self, device: str) -> Callable[[int], int]:
        assert device == "cpu"
        if self.closed:
            raise InputError("cannot be opened", where="the job")
        return self.square

    def square(self, number: int) -> int:
        if number == self.bad:
            raise InputError("is bad", where=number)
        if number == self.odd:
            raise LookupError("a defect")
        if number == self.kills:
            deaths = Path(self.folder) / "deaths"
            before = deaths.read_text() if deaths.exists() else ""
            if len(before) < self.times:
                deaths.write_text(before + "x")
                os.kill(os.getpid(), signal.SIGKILL)
        (Path(self.folder) / f"{number}-{os.getpid()}").touch()
        return number * number


def collect(engine: Engine, job: Squares, units: list[int]) -> tuple[dict[int, int], dict[int, Failure]]:
    """Results and failures; a unit that ends twice is an error."""
    results: dict[int, int] = {}
    failures: dict[int, Failure] = {}

    def ended(unit: int, outcome: int | Failure) -> list[int]:
        assert unit not in results
        assert unit not in failures
        if isinstance(outcome, Failure):
            failures[unit] = outcome
        else:
            results[unit] = outcome
        return []

    engine.run(job, units, ended)
    return results, failures


class EngineContract:
    """Tests of an engine; subclasses give the fixture ``engine``."""

    def test_every_unit_ends_once_with_its_result(self, engine: Engine, tmp_path: Path) -> None:
        results, failures = collect(engine, Squares(str(tmp_path)), list(range(23)))
        assert results == {i: i * i for i in range(23)}
        assert failures == {}
        assert isinstance(engine, Engine)

    def test_nothing_to_do(self, engine: Engine, tmp_path: Path) -> None:
        assert collect(engine, Squares(str(tmp_path), closed=True), []) == ({}, {})

    def test_bad_units_fail_alone_and_say_why(self, engine: Engine, tmp_path: Path) -> None:
        results, failures = collect(engine, Squares(str(tmp_path), bad=3, odd=5), list(range(9)))
        assert set(results) == set(range(9)) - {3, 5}
        assert failures[3] == Failure("InputError", "3: is bad")
        assert failures[5].kind == "LookupError"
        assert "a defect" in failures[5].reason

    def test_what_follows_from_a_unit_is_run(self, engine: Engine, tmp_path: Path) -> None:
        seen = []

        def ended(unit: int, outcome: int | Failure) -> list[int]:
            assert outcome == unit * unit
            seen.append(unit)
            return [unit + 10, unit + 20] if unit < 10 else []

        engine.run(Squares(str(tmp_path)), [0, 1, 2], ended)
        assert sorted(seen) == [0, 1, 2, 10, 11, 12, 20, 21, 22]

    def test_a_job_that_cannot_be_opened_stops_all(self, engine: Engine, tmp_path: Path) -> None:
        with pytest.raises(AczerotsError, match="the job: cannot be opened"):
            collect(engine, Squares(str(tmp_path), closed=True), [1, 2])
        assert list(tmp_path.iterdir()) == []

    def test_what_the_listener_raises_ends_everything(self, engine: Engine, tmp_path: Path) -> None:
        def ended(unit: int, outcome: int | Failure) -> list[int]:
            raise AczerotsError("enough")

        with pytest.raises(AczerotsError, match="enough"):
            engine.run(Squares(str(tmp_path)), list(range(50)), ended)
        assert len(list(tmp_path.iterdir())) < 20, "the rest is not done"


class WorkerContract(EngineContract):
    """Tests of an engine whose workers are processes that may die."""

    def test_a_lost_worker_loses_nothing(self, engine: Engine, tmp_path: Path) -> None:
        results, failures = collect(engine, Squares(str(tmp_path), kills=4, times=1), list(range(12)))
        assert results == {i: i * i for i in range(12)}
        assert failures == {}

    def test_a_unit_that_kills_its_workers_is_given_up(self, engine: Engine, tmp_path: Path) -> None:
        results, failures = collect(engine, Squares(str(tmp_path), kills=4, times=99), list(range(12)))
        assert set(results) == set(range(12)) - {4}
        assert failures[4].kind == "lost"
        assert "3 times" in failures[4].reason
