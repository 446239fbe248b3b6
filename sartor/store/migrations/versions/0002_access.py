"""Access: keys, tenants, what they use, the log of what was done, and the counter that tells workers to look again."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")
SERIAL = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    counter = op.create_table(
        "revision",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("seq", sa.BigInteger, nullable=False),
        sqlite_with_rowid=False,
    )
    op.bulk_insert(counter, [{"name": "store", "seq": 1}])
    op.create_table(
        "tenant",
        sa.Column("name", TEXT, primary_key=True),
        sa.Column("limits", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sqlite_with_rowid=False,
    )
    _keys()
    op.create_table(
        "allowance",
        sa.Column("holder", TEXT, primary_key=True),
        sa.Column("resource", TEXT, primary_key=True),
        sa.Column("period", TEXT, nullable=False),
        sa.Column("used", sa.BigInteger, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sqlite_with_rowid=False,
    )
    _audit()


def _keys() -> None:
    op.create_table(
        "access_key",
        sa.Column("id", TEXT, primary_key=True),
        sa.Column("mark", TEXT, nullable=False),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("role", TEXT, nullable=False),
        sa.Column("scope", sa.Text, nullable=False),
        sa.Column("limits", sa.Text, nullable=False),
        sa.Column("label", sa.Text, nullable=False),
        sa.Column("created", sa.Double, nullable=False),
        sa.Column("created_by", sa.Text, nullable=False),
        sa.Column("expires", sa.Double),
        sa.Column("revoked", sa.Double),
        sa.Column("replaces", TEXT, nullable=False),
        sqlite_with_rowid=False,
    )
    op.create_index("access_key_tenant", "access_key", ["tenant", "id"])


def _audit() -> None:
    op.create_table(
        "audit",
        sa.Column("seq", SERIAL, sa.Identity(), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("who", sa.Text, nullable=False),
        sa.Column("tenant", TEXT, nullable=False),
        sa.Column("action", sa.Text, nullable=False),
        sa.Column("target", sa.Text, nullable=False),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("before", TEXT, nullable=False),
        sa.Column("hash", TEXT, nullable=False),
    )
    op.create_index("audit_tenant", "audit", ["tenant", "seq"])
    says = "the audit log is only ever added to"
    if op.get_bind().dialect.name == "sqlite":
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_{change.lower()} BEFORE {change} ON audit "
                f"BEGIN SELECT RAISE(ABORT, '{says}'); END"
            )
        return
    op.execute(
        f"CREATE FUNCTION audit_stands() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION '{says}'; END $$"
    )
    op.execute(
        "CREATE TRIGGER audit_stands BEFORE UPDATE OR DELETE OR TRUNCATE ON audit "
        "FOR EACH STATEMENT EXECUTE FUNCTION audit_stands()"
    )


def downgrade() -> None:
    for table in ("audit", "allowance", "access_key", "tenant", "revision"):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION audit_stands()")
