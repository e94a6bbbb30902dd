"""Writers of a SQLite file share commits: those that wait at the same time wait for the disk once."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session

_OPEN_FOR = 0.02
"""Seconds after which a shared transaction takes no more writers, so that the first ones do not wait for the last."""

_PATIENCE = 1.0
"""Seconds in which a shared transaction is committed, unless a writer was interrupted."""


class SharedTransaction:
    """A transaction, begun on a connection, that several writers share."""

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self._began = time.monotonic()
        self._over = threading.Event()
        self._error: BaseException | None = None

    @property
    def closing(self) -> bool:
        """Whether it takes no more writers: the first have waited long enough, or SQLite has given it up."""
        return time.monotonic() - self._began >= _OPEN_FOR or not self._alive

    @property
    def _alive(self) -> bool:
        """A full disk, for example, ends the whole transaction and not just the savepoint."""
        return bool(getattr(self.connection.connection.dbapi_connection, "in_transaction", False))

    def finish(self) -> None:
        """Write everything to the disk and wake the writers that wait.

        Raises:
            BaseException: It could not be written; nothing is kept.
        """
        try:
            if not self._alive:  # to commit nothing would succeed
                raise OperationalError("COMMIT", {}, RuntimeError("the transaction was given up"))
            self.connection.commit()
        except BaseException as error:
            self._error = error
            self.connection.invalidate()  # it may still be in the transaction
            raise
        finally:
            self.connection.close()
            self._over.set()

    def settled(self, seconds: float) -> bool:
        """Whether it is on the disk within so many seconds.

        Raises:
            BaseException: It could not be written; nothing of it is kept.
        """
        if not self._over.wait(seconds):
            return False
        if self._error is not None:
            raise self._error
        return True


class SharedCommits:
    """Transactions of one process on a SQLite file, one at a time.

    SQLite has one writer, and each commit waits some milliseconds for the disk. Writers that queue up meanwhile each
    write in a savepoint of one transaction, and the last of the queue commits it for all. No writer goes on before the
    commit, so that what was acknowledged is on the disk, and a block that raises leaves nothing.

    Args:
        engine: Whose transactions may write.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        # Waiting here is fair and ends at once; SQLite's own waiting is neither.
        self._turn = threading.Lock()
        self._queue = threading.Lock()
        self._waiting = 0
        self._open: SharedTransaction | None = None

    @contextmanager
    def writing(self) -> Iterator[Session]:
        """A transaction that is on the disk when the block ends, or has left nothing when it raises."""
        with self._my_turn():
            shared = self._joined()
            try:
                with _savepoint(shared.connection) as session:
                    yield session
            finally:
                if shared.closing or not self._waiting:
                    self._finish(shared)
        while not shared.settled(_PATIENCE):
            # The writer that was to come next and to commit has been interrupted.
            with self._my_turn():
                self._finish(shared)

    def _finish(self, shared: SharedTransaction) -> None:
        if self._open is shared:
            self._open = None
            shared.finish()

    @contextmanager
    def _my_turn(self) -> Iterator[None]:
        with self._queue:
            self._waiting += 1
        try:
            self._turn.acquire()
        finally:
            with self._queue:
                self._waiting -= 1
        try:
            yield
        finally:
            self._turn.release()

    def _joined(self) -> SharedTransaction:
        """The transaction that is open, or a new one."""
        if self._open is None:
            connection = self._engine.connect()
            try:
                connection.begin()
            except BaseException:
                connection.close()
                raise
            self._open = SharedTransaction(connection)
        return self._open


@contextmanager
def _savepoint(connection: Connection) -> Iterator[Session]:
    """A savepoint that is kept if the block ends well."""
    savepoint = Session(connection, expire_on_commit=False, join_transaction_mode="create_savepoint")
    with savepoint as session, session.begin():
        yield session
