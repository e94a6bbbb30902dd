"""The first tables. New databases are made without migrations: this only names where the others start."""

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Nothing: databases of this revision have their tables."""
