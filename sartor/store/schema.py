"""The tables of the ledger, of access and of what is used. Knows nothing of how a database is opened, nor of what the
records mean.

Records carry a serial number, so that every index walks newest first without sorting; the field table is an
index of its own: one row for each indexed field of each record, stored in the order in which it is searched.
"""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Identity, Index, Integer, MetaData, Table, Text

REVISION = "0002"
"""The newest migration; a database at this revision is opened without loading alembic."""

_text = Text().with_variant(Text(collation="C"), "postgresql")
"""Compared byte by byte on both databases, so that a prefix is a range of the index."""
_serial = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

record = Table(
    "record",
    metadata,
    Column("seq", _serial, Identity(), primary_key=True),
    Column("digest", _text, nullable=False, unique=True),
    Column("kind", _text, nullable=False),
    Column("created", _text, nullable=False),
    Column("seal", _text, nullable=False),
    Column("body", Text, nullable=False),
    Index("record_kind", "kind", "seq"),
)

field = Table(
    "field",
    metadata,
    Column("kind", _text, primary_key=True),
    Column("name", _text, primary_key=True),
    Column("value", _text, primary_key=True),
    Column("seq", _serial, ForeignKey("record.seq"), primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

edge = Table(
    "edge",
    metadata,
    Column("child", _serial, ForeignKey("record.seq"), primary_key=True, autoincrement=False),
    Column("role", _text, primary_key=True),
    Column("parent", _text, nullable=False),
    Index("edge_parent", "parent", "child", "role"),
    sqlite_with_rowid=False,
)

pointer = Table(
    "pointer",
    metadata,
    Column("name", _text, primary_key=True),
    Column("digest", _text, ForeignKey("record.digest")),
    Column("decision", _text, nullable=False),
    Column("moved", _text, nullable=False),
    Column("seq", _serial, nullable=False),
    Index("pointer_digest", "digest", "name"),
    sqlite_with_rowid=False,
)

move = Table(
    "move",
    metadata,
    Column("name", _text, primary_key=True),
    Column("seq", _serial, primary_key=True, autoincrement=False),
    Column("digest", _text),
    Column("before", _text),
    Column("decision", _text, nullable=False),
    Column("moved", _text, nullable=False),
    sqlite_with_rowid=False,
)

revision = Table(
    "revision",
    metadata,
    Column("name", _text, primary_key=True),
    Column("seq", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)
"""One row, `store`: counted up by whatever moves a pointer or changes a key, in the same transaction."""

tenant = Table(
    "tenant",
    metadata,
    Column("name", _text, primary_key=True),
    Column("limits", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    sqlite_with_rowid=False,
)

access_key = Table(
    "access_key",
    metadata,
    Column("id", _text, primary_key=True),
    Column("mark", _text, nullable=False),
    Column("tenant", _text, nullable=False),
    Column("role", _text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("limits", Text, nullable=False),
    Column("label", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires", Double),
    Column("revoked", Double),
    Column("replaces", _text, nullable=False),
    Index("access_key_tenant", "tenant", "id"),
    sqlite_with_rowid=False,
)

allowance = Table(
    "allowance",
    metadata,
    Column("holder", _text, primary_key=True),
    Column("resource", _text, primary_key=True),
    Column("period", _text, nullable=False),
    Column("used", BigInteger, nullable=False),
    Column("at", Double, nullable=False),
    sqlite_with_rowid=False,
)

audit = Table(
    "audit",
    metadata,
    Column("seq", _serial, Identity(), primary_key=True),
    Column("at", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("tenant", _text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("before", _text, nullable=False),
    Column("hash", _text, nullable=False),
    Index("audit_tenant", "tenant", "seq"),
)
