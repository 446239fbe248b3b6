"""The tables of the ledger, of access, of what is used and of jobs. Knows nothing of how a database is opened, nor of
what the records mean.

Records carry a serial number, so that every index walks newest first without sorting; the field table is an
index of its own: one row for each indexed field of each record, stored in the order in which it is searched.
"""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Identity, Index, Integer, MetaData, Table, Text

REVISION = "0003"
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

job = Table(
    "job",
    metadata,
    Column("seq", _serial, Identity(), primary_key=True),
    Column("id", _text, nullable=False, unique=True),
    Column("kind", _text, nullable=False),
    Column("args", Text, nullable=False),
    Column("task", _text, nullable=False),
    Column("tenant", _text, nullable=False),
    Column("queue", _text, nullable=False),
    Column("priority", Integer, nullable=False),
    Column("once", _text),
    Column("word", _text, nullable=False),
    Column("not_before", Double, nullable=False),
    Column("most_attempts", Integer, nullable=False),
    Column("who", Text, nullable=False),
    Column("state", _text, nullable=False),
    Column("asked", _text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("contract", _text, nullable=False),
    Column("worker", _text, nullable=False),
    Column("step", Text, nullable=False),
    Column("done", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("created", Double, nullable=False),
    Column("started", Double),
    Column("ended", Double),
    Column("error", Text, nullable=False),
    Column("code", Text, nullable=False),
    Column("result", Text, nullable=False),
    Column("waits_for", _text, nullable=False),
    Index("job_state", "state", "queue", "seq"),
    Index("job_task", "task", "seq"),
    Index("job_tenant", "tenant", "seq"),
    Index("job_part", "waits_for", "seq"),
    Index("job_once", "once", unique=True),
)
"""Jobs; `once` holds tenant and `word` until the job has ended and is NULL then, so that the word is free again."""

job_event = Table(
    "job_event",
    metadata,
    Column("job", _text, primary_key=True),
    Column("seq", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("level", _text, nullable=False),
    Column("message", Text, nullable=False),
    Column("data", Text, nullable=False),
    sqlite_with_rowid=False,
)

worker = Table(
    "worker",
    metadata,
    Column("name", _text, primary_key=True),
    Column("version", _text, nullable=False),
    Column("queues", _text, nullable=False),
    Column("since", Double, nullable=False),
    Column("seen", Double, nullable=False),
    sqlite_with_rowid=False,
)
"""Who works on jobs, and when it last said that it lives."""

upload = Table(
    "upload",
    metadata,
    Column("seq", _serial, Identity(), primary_key=True),
    Column("id", _text, nullable=False, unique=True),
    Column("tenant", _text, nullable=False),
    Column("purpose", _text, nullable=False),
    Column("name", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("content", _text, nullable=False),
    Column("created", Double, nullable=False),
    Column("expires", Double),
    Index("upload_tenant", "tenant", "seq"),
)
"""Files that were sent; `content` is a digest of the vault."""

notice = Table(
    "notice",
    metadata,
    Column("seq", _serial, Identity(), primary_key=True),
    Column("id", _text, nullable=False, unique=True),
    Column("task", _text, nullable=False),
    Column("target", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("created", Double, nullable=False),
    Column("due", Double),
    Column("attempts", Integer, nullable=False),
    Column("error", Text, nullable=False),
    Index("notice_due", "due"),
)
"""News on its way out; `due` is NULL once it has arrived or was given up."""

claim = Table(
    "claim",
    metadata,
    Column("task", _text, primary_key=True),
    Column("item", _text, primary_key=True),
    Column("who", _text, primary_key=True),
    Column("until", Double, nullable=False),
    sqlite_with_rowid=False,
)
"""Rows that somebody has before them for labelling, until when."""
