"""The first ledger: records, their indexed fields, their edges, pointers and the log of their moves."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "record",
        sa.Column("seq", SERIAL, sa.Identity(), primary_key=True),
        sa.Column("digest", TEXT, nullable=False, unique=True),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("created", TEXT, nullable=False),
        sa.Column("seal", TEXT, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
    )
    op.create_index("record_kind", "record", ["kind", "seq"])
    op.create_table(
        "field",
        sa.Column("kind", TEXT, primary_key=True),
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("value", TEXT, primary_key=True),
        sa.Column("seq", SERIAL, sa.ForeignKey("record.seq"), primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "edge",
        sa.Column("child", SERIAL, sa.ForeignKey("record.seq"), primary_key=True, autoincrement=False),
        sa.Column("role", TEXT, primary_key=True),
        sa.Column("parent", TEXT, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("edge_parent", "edge", ["parent", "child", "role"])
    op.create_table(
        "pointer",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("digest", TEXT, sa.ForeignKey("record.digest")),
        sa.Column("decision", TEXT, nullable=False),
        sa.Column("moved", TEXT, nullable=False),
        sa.Column("seq", SERIAL, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("pointer_digest", "pointer", ["digest", "name"])
    op.create_table(
        "move",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("seq", SERIAL, primary_key=True, autoincrement=False),
        sa.Column("digest", TEXT),
        sa.Column("before", TEXT),
        sa.Column("decision", TEXT, nullable=False),
        sa.Column("moved", TEXT, nullable=False),
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    for table in ("move", "pointer", "edge", "field", "record"):
        op.drop_table(table)
