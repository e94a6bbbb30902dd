"""Users with their tokens, and the audit trail."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import bindparam, insert, select
from sqlalchemy.orm import Session

from aczerots.annotation.store.database import Database, now_utc
from aczerots.annotation.store.records import Event
from aczerots.annotation.store.rows import record_of
from aczerots.annotation.store.tables import EventRow, UserRow, table
from aczerots.errors import InputError


class People:
    """Who may annotate, and who did what."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, name: str) -> str:
        """Add a user, or give a known one a new token (the old one stops working).

        Returns:
            The token. Only its hash is kept: it cannot be shown again.

        Raises:
            InputError: The name is empty, too long or not printable.
        """
        if not 0 < len(name) <= 100 or not name.isprintable() or name != name.strip():
            raise InputError("a name has 1 to 100 printable characters", where=repr(name))
        token = new_token()
        with self._database.writing() as s:
            s.merge(UserRow(name=name, token_hash=hash_token(token), created=now_utc(), active=True))
            log(s, name, "token", {})
        return token

    def of_token(self, token: str) -> str | None:
        """Name of the active user with this token, None if there is none."""
        with self._database.reading() as s:
            return s.scalar(_ACTIVE_USER, {"hash": hash_token(token)})

    def revoke(self, names: Sequence[str]) -> None:
        """Make users' tokens stop working, all or none; their answers stay.

        Raises:
            InputError: No such user.
        """
        with self._database.writing() as s:
            users = {row.name: row for row in s.scalars(select(UserRow).order_by(UserRow.name))}
            unknown = [name for name in names if name not in users]
            if unknown:
                fix = f"Users are: {', '.join(users)}" if users else None
                raise InputError(f"no user '{unknown[0]}'", fix=fix)
            for name in names:
                users[name].active = False
                log(s, name, "revoked", {})

    def note(self, user: str, what: str, about: Mapping[str, Any]) -> None:
        """Add an entry to the audit trail."""
        with self._database.writing() as s:
            log(s, user, what, about)

    def events(self, what: str | None = None) -> list[Event]:
        """The audit trail, oldest first; ``what`` keeps one kind only."""
        query = select(EventRow).order_by(EventRow.id)
        if what is not None:
            query = query.where(EventRow.what == what)
        with self._database.reading() as s:
            return [record_of(Event, row) for row in s.scalars(query)]


def log(session: Session, user: str, what: str, about: Mapping[str, Any]) -> None:
    """Add an entry to the audit trail within a transaction."""
    session.connection().execute(_ENTRY, {"time": now_utc(), "author": user, "what": what, "about": dict(about)})


def new_token() -> str:
    """A random token of 256 bits that fits into a link."""
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    """SHA-256 of a token in hexadecimal. Tokens are random, 256 bits: they need no salt and no slow hash."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


# These run with every request; building them is slow, so they are built once.
_ENTRY = insert(table(EventRow))
_ACTIVE_USER = select(UserRow.name).where(UserRow.token_hash == bindparam("hash"), UserRow.active)
