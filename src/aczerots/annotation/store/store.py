"""The project's database: one object with a part per concern."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from aczerots.annotation.store.answers import Answers
from aczerots.annotation.store.database import Database
from aczerots.annotation.store.leases import Leases
from aczerots.annotation.store.open_readings import count_open
from aczerots.annotation.store.people import People
from aczerots.annotation.store.progress import Progress, ReadingStatus, read_progress, read_round_status
from aczerots.annotation.store.rounds import Rounds


class ProjectStore:
    """Everything of a project that must not be lost. Every method of its parts is one transaction.

    May be used by several threads at once, and by several processes.

    Attributes:
        rounds: Slides, tiles, rounds, selections, drafts, named values.
        leases: Leases and unfinished work.
        answers: What experts said.
        people: Users and the audit trail.

    Args:
        url: ``sqlite:///FILE`` or ``postgresql+psycopg://...``; or the path of a SQLite file. Made if missing.

    Raises:
        SettingsError: The URL makes no sense.
        MissingExtraError: The extra ``project`` is needed.
        StorageError: The database cannot be opened, or a newer version of the program has written it.
    """

    def __init__(self, url: str | Path) -> None:
        self._database = Database(f"sqlite:///{url}" if isinstance(url, Path) else url)
        self.rounds = Rounds(self._database)
        self.answers = Answers(self._database)
        self.leases = Leases(self._database)
        self.people = People(self._database)

    @property
    def name(self) -> str:
        """URL without the password."""
        return self._database.name

    def progress(self, now: datetime | None = None) -> Progress:
        """Where the project stands; ``now`` is the moment that leases are judged by."""
        return read_progress(self._database, now)

    def round_status(self, number: int) -> list[ReadingStatus]:
        """Who has answered what in a round, by reading and rank."""
        return read_round_status(self._database, number)

    def left(self) -> int:
        """Readings of the newest round that nobody has answered."""
        with self._database.reading() as s:
            return count_open(s)

    def close(self) -> None:
        """Release all connections."""
        self._database.close()
