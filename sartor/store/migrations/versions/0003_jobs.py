"""The wheel: jobs with what they said, workers, uploaded files, news on its way out, rows that are being labelled."""

from alembic import op

from sartor.store import schema

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

TABLES = ("job", "job_event", "worker", "upload", "notice", "claim")


def upgrade() -> None:
    schema.metadata.create_all(op.get_bind(), tables=[schema.metadata.tables[name] for name in TABLES])


def downgrade() -> None:
    for name in reversed(TABLES):
        op.drop_table(name)
