"""Writers of SQLite share commits: each is told only when it is on the disk, and one that fails takes nobody along."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError
from tests.patience import PATIENCE, wait_until

from aczerots.annotation.store import commits
from aczerots.annotation.store.database import Database
from aczerots.errors import StorageError


class Counted:
    """A database whose commits are counted, with a table of numbers."""

    def __init__(self, file: Path) -> None:
        self.file = file
        self.database = Database(f"sqlite:///{file}")
        self.commits = 0
        with self.database.writing() as s:
            s.execute(text("CREATE TABLE numbers (n INTEGER PRIMARY KEY)"))
        event.listen(self.database._engine, "commit", self._count)

    def _count(self, _connection: object) -> None:
        self.commits += 1
        time.sleep(0.005)  # a slow disk

    def add(self, n: int, fail: bool = False) -> bool:
        with self.database.writing() as s:
            s.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": n})
            if fail:
                raise ValueError("no")
        return n in self.kept()

    def kept(self) -> list[int]:
        """As another program sees it."""
        with sqlite3.connect(self.file) as other:
            return [n for (n,) in other.execute("SELECT n FROM numbers ORDER BY n")]


@pytest.fixture
def counted(tmp_path: Path) -> Iterator[Counted]:
    made = Counted(tmp_path / "numbers.sqlite")
    yield made
    made.database.close()


def test_writers_that_wait_share_a_commit_and_each_sees_its_own_on_return(counted: Counted):
    with ThreadPoolExecutor(20) as crowd:
        assert all(crowd.map(counted.add, range(200)))
    assert counted.kept() == list(range(200))


def test_all_who_come_while_one_commits_share_the_next(counted: Counted, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(commits, "_OPEN_FOR", PATIENCE)
    shared = counted.database._shared
    with ThreadPoolExecutor(20) as crowd:

        def until_all_wait(_connection: object) -> None:
            if counted.commits == 1:
                wait_until(lambda: shared._waiting == 19)

        event.listen(counted.database._engine, "commit", until_all_wait)
        first = crowd.submit(counted.add, 0)
        # Whoever came before the first one commits would share its commit.
        wait_until(lambda: counted.commits == 1)
        assert all(crowd.map(counted.add, range(1, 20)))
        assert first.result()
    assert counted.kept() == list(range(20))
    assert counted.commits == 2


def test_one_that_fails_leaves_nothing_and_takes_nobody_along(counted: Counted):
    def attempt(n: int) -> bool:
        try:
            return counted.add(n, fail=n % 3 == 0)
        except ValueError:
            return False

    with ThreadPoolExecutor(10) as crowd:
        done = list(crowd.map(attempt, range(60)))
    assert counted.kept() == [n for n in range(60) if n % 3]
    assert done == [n % 3 != 0 for n in range(60)]


def test_a_statement_that_fails_is_told_to_its_author_only(counted: Counted):
    counted.add(1)
    with pytest.raises(StorageError, match="UNIQUE"):
        counted.add(1)
    assert counted.add(2)


def test_nobody_is_told_of_success_when_the_commit_fails(counted: Counted):

    def broken(_connection: object) -> None:
        raise OperationalError("COMMIT", {}, sqlite3.OperationalError("disk I/O error"))

    event.listen(counted.database._engine, "commit", broken)
    told = _together(counted, 5)
    event.remove(counted.database._engine, "commit", broken)
    assert len(told) == 5
    assert all(isinstance(error, StorageError) for error in told)
    assert counted.kept() == []
    assert counted.add(9)


def test_nobody_is_told_of_success_when_sqlite_has_given_the_transaction_up(counted: Counted):
    """As after a full disk: the transaction is gone, and committing nothing would succeed."""

    def give_up() -> None:
        with counted.database.writing() as s:
            s.execute(text("INSERT INTO numbers VALUES (5)"))
            s.connection().exec_driver_sql("ROLLBACK")

    with pytest.raises(StorageError):
        give_up()
    assert counted.kept() == []
    assert counted.add(6)


def test_a_transaction_whose_last_writer_never_comes_is_committed_all_the_same(
    counted: Counted, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(commits, "_PATIENCE", 0.01)
    counted.database._shared._waiting += 1  # somebody who was interrupted
    assert counted.add(3)


def test_another_process_may_write_in_between(counted: Counted):
    other = create_engine(f"sqlite:///{counted.file}")
    for n in range(0, 10, 2):
        counted.add(n)
        with other.begin() as connection:
            connection.execute(text("INSERT INTO numbers VALUES (:n)"), {"n": n + 1})
    other.dispose()
    assert counted.kept() == list(range(10))


def _together(counted: Counted, people: int) -> list[BaseException]:
    """What so many writers are told who wait at the same time."""
    told: list[BaseException] = []
    start = threading.Barrier(people, timeout=PATIENCE)

    def write(n: int) -> None:
        start.wait()
        try:
            counted.add(n)
        except StorageError as error:
            told.append(error)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(people)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told
