"""Open readings get a table of their own: finding them among all answers took longer with every answer."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the table and fill it from selections and answers."""
    op.create_table(
        "openings",
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("reading", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("tile", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["rounds.number"], name=op.f("fk_openings_round")),
        sa.ForeignKeyConstraint(["tile"], ["tiles.position"], name=op.f("fk_openings_tile")),
        sa.PrimaryKeyConstraint("round", "reading", "rank", name=op.f("pk_openings")),
        sa.UniqueConstraint("round", "tile", "reading", name=op.f("uq_openings_round_tile_reading")),
    )
    connection = op.get_bind()
    picks = connection.execute(sa.text("SELECT round, rank, tile, readings FROM selections")).all()
    said = connection.execute(sa.text("SELECT round, tile, reading, kind FROM answers ORDER BY version")).all()
    newest = {(number, tile, reading): kind for number, tile, reading, kind in said}
    rows = [
        {"round": number, "reading": reading, "rank": rank, "tile": tile}
        for number, rank, tile, readings in picks
        for reading in range(readings)
        if newest.get((number, tile, reading), "withdrawn") == "withdrawn"
    ]
    if rows:
        columns = [sa.column(name, sa.Integer()) for name in ("round", "reading", "rank", "tile")]
        op.bulk_insert(sa.table("openings", *columns), rows)
