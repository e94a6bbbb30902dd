"""The tables of revision 0001, as databases of that time have them."""

import sqlalchemy as sa
from alembic import op


def make_first_tables() -> None:
    """Make all tables."""
    op.create_table(
        "events",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("time", sa.DateTime(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("what", sa.String(), nullable=False),
        sa.Column("about", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_events")),
    )
    op.create_index(op.f("ix_events_what"), "events", ["what"], unique=False)
    op.create_table(
        "facts",
        sa.Column("key", sa.String(), nullable=False),
        sa.Column("value", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_facts")),
    )
    op.create_table(
        "rounds",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("state", sa.String(), nullable=False),
        sa.Column("strategy", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("model", sa.String(), nullable=True),
        sa.Column("metrics", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("seconds", sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_rounds")),
    )
    op.create_table(
        "slides",
        sa.Column("id", sa.String(), nullable=False),
        sa.Column("path", sa.String(), nullable=False),
        sa.Column("fingerprint", sa.String(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("mpp", sa.Double(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_slides")),
    )
    op.create_table(
        "users",
        sa.Column("name", sa.String(), nullable=False),
        sa.Column("token_hash", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_users")),
        sa.UniqueConstraint("token_hash", name=op.f("uq_users_token_hash")),
    )
    op.create_table(
        "tiles",
        sa.Column("position", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("slide", sa.String(), nullable=False),
        sa.Column("x", sa.Integer(), nullable=False),
        sa.Column("y", sa.Integer(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("window_x", sa.Integer(), nullable=False),
        sa.Column("window_y", sa.Integer(), nullable=False),
        sa.Column("window_side", sa.Integer(), nullable=False),
        sa.Column("size", sa.Integer(), nullable=False),
        sa.Column("mpp", sa.Double(), nullable=True),
        sa.ForeignKeyConstraint(["slide"], ["slides.id"], name=op.f("fk_tiles_slide")),
        sa.PrimaryKeyConstraint("position", name=op.f("pk_tiles")),
        sa.UniqueConstraint("slide", "x", "y", "width", "height", name=op.f("uq_tiles_slide_x_y_width_height")),
    )
    op.create_table(
        "drafts",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tile", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("mask", sa.LargeBinary(), nullable=False),
        sa.Column("geometry", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("model", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["rounds.number"], name=op.f("fk_drafts_round")),
        sa.ForeignKeyConstraint(["tile"], ["tiles.position"], name=op.f("fk_drafts_tile")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_drafts")),
    )
    op.create_index(op.f("ix_drafts_tile"), "drafts", ["tile"], unique=False)
    op.create_table(
        "leases",
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("tile", sa.Integer(), nullable=False),
        sa.Column("reading", sa.Integer(), nullable=False),
        sa.Column("holder", sa.String(), nullable=False),
        sa.Column("expires", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["rounds.number"], name=op.f("fk_leases_round")),
        sa.ForeignKeyConstraint(["tile"], ["tiles.position"], name=op.f("fk_leases_tile")),
        sa.PrimaryKeyConstraint("round", "tile", "reading", name=op.f("pk_leases")),
    )
    op.create_table(
        "refused_answers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tile", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("reading", sa.Integer(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("tool", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("based_on", sa.Integer(), nullable=False),
        sa.Column("newest", sa.Integer(), nullable=False),
        sa.Column("mask", sa.LargeBinary(), nullable=True),
        sa.Column("geometry", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("comment", sa.String(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("act", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["tile"], ["tiles.position"], name=op.f("fk_refused_answers_tile")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_refused_answers")),
        sa.UniqueConstraint("act", name=op.f("uq_refused_answers_act")),
    )
    op.create_table(
        "selections",
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("rank", sa.Integer(), nullable=False),
        sa.Column("tile", sa.Integer(), nullable=False),
        sa.Column("score", sa.Double(), nullable=False),
        sa.Column("components", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("readings", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(["round"], ["rounds.number"], name=op.f("fk_selections_round")),
        sa.ForeignKeyConstraint(["tile"], ["tiles.position"], name=op.f("fk_selections_tile")),
        sa.PrimaryKeyConstraint("round", "rank", name=op.f("pk_selections")),
        sa.UniqueConstraint("round", "tile", name=op.f("uq_selections_round_tile")),
    )
    op.create_table(
        "sketches",
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("tile", sa.Integer(), nullable=False),
        sa.Column("based_on", sa.Integer(), nullable=False),
        sa.Column("content", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("saved", sa.DateTime(), nullable=False),
        sa.ForeignKeyConstraint(["tile"], ["tiles.position"], name=op.f("fk_sketches_tile")),
        sa.PrimaryKeyConstraint("author", "tile", name=op.f("pk_sketches")),
    )
    op.create_table(
        "answers",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("tile", sa.Integer(), nullable=False),
        sa.Column("round", sa.Integer(), nullable=False),
        sa.Column("reading", sa.Integer(), nullable=False),
        sa.Column("author", sa.String(), nullable=False),
        sa.Column("created", sa.DateTime(), nullable=False),
        sa.Column("tool", sa.String(), nullable=False),
        sa.Column("kind", sa.String(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("based_on", sa.Integer(), nullable=False),
        sa.Column("mask", sa.LargeBinary(), nullable=True),
        sa.Column("geometry", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("comment", sa.String(), nullable=False),
        sa.Column("seconds", sa.Double(), nullable=False),
        sa.Column("draft", sa.Integer(), nullable=True),
        sa.Column("pixels", sa.JSON(none_as_null=True), nullable=False),
        sa.Column("reverts_to", sa.Integer(), nullable=True),
        sa.Column("act", sa.String(), nullable=False),
        sa.ForeignKeyConstraint(["draft"], ["drafts.id"], name=op.f("fk_answers_draft")),
        sa.ForeignKeyConstraint(["round"], ["rounds.number"], name=op.f("fk_answers_round")),
        sa.ForeignKeyConstraint(["tile"], ["tiles.position"], name=op.f("fk_answers_tile")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_answers")),
        sa.UniqueConstraint("act", name=op.f("uq_answers_act")),
        sa.UniqueConstraint("tile", "reading", "version", name=op.f("uq_answers_tile_reading_version")),
    )
    op.create_index(op.f("ix_answers_round"), "answers", ["round"], unique=False)
