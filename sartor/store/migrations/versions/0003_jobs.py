"""The wheel: jobs with what they said, workers, uploaded files, news on its way out, rows that are being labelled."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _jobs()
    op.create_table(
        "job_event",
        sa.Column("job", TEXT, primary_key=True),
        sa.Column("seq", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("level", TEXT, nullable=False),
        sa.Column("message", sa.Text, nullable=False),
        sa.Column("data", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "worker",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("version", TEXT, nullable=False),
        sa.Column("queues", TEXT, nullable=False),
        sa.Column("since", sa.Double, nullable=False),
        sa.Column("seen", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    _uploads()
    _notices()
    op.create_table(
        "claim",
        sa.Column("task", TEXT, primary_key=True),
        sa.Column("item", TEXT, primary_key=True),
        sa.Column("who", TEXT, primary_key=True),
        sa.Column("until", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )


def _jobs() -> None:
    op.create_table(
        "job",
        sa.Column("seq", SERIAL, sa.Identity(), primary_key=True),
        sa.Column("id", TEXT, nullable=False, unique=True),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("args", sa.Text, nullable=False),
        sa.Column("task", TEXT, nullable=False),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("queue", TEXT, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("once", TEXT),
        sa.Column("word", TEXT, nullable=False),
        sa.Column("not_before", sa.Double, nullable=False),
        sa.Column("most_attempts", sa.Integer, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("asked", TEXT, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("failures", sa.Integer, nullable=False),
        sa.Column("contract", TEXT, nullable=False),
        sa.Column("worker", TEXT, nullable=False),
        sa.Column("step", sa.Text, nullable=False),
        sa.Column("done", sa.BigInteger, nullable=False),
        sa.Column("total", sa.BigInteger, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("started", sa.Double),
        sa.Column("ended", sa.Double),
        sa.Column("error", sa.Text, nullable=False),
        sa.Column("code", sa.Text, nullable=False),
        sa.Column("result", sa.Text, nullable=False),
        sa.Column("waits_for", TEXT, nullable=False),
    )
    op.create_index("job_state", "job", ["state", "queue", "seq"])
    op.create_index("job_task", "job", ["task", "seq"])
    op.create_index("job_tenant", "job", ["tenant", "seq"])
    op.create_index("job_part", "job", ["waits_for", "seq"])
    op.create_index("job_once", "job", ["once"], unique=True)


def _uploads() -> None:
    op.create_table(
        "upload",
        sa.Column("seq", SERIAL, sa.Identity(), primary_key=True),
        sa.Column("id", TEXT, nullable=False, unique=True),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("purpose", TEXT, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("content", TEXT, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("expires", sa.Double),
    )
    op.create_index("upload_tenant", "upload", ["tenant", "seq"])


def _notices() -> None:
    op.create_table(
        "notice",
        sa.Column("seq", SERIAL, sa.Identity(), primary_key=True),
        sa.Column("id", TEXT, nullable=False, unique=True),
        sa.Column("task", TEXT, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("due", sa.Double),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("error", sa.Text, nullable=False),
    )
    op.create_index("notice_due", "notice", ["due"])


def downgrade() -> None:
    for name in ("claim", "notice", "upload", "worker", "job_event", "job"):
        op.drop_table(name)
