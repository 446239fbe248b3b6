"""How often the log writes and syncs, how much it keeps in memory, and what it counts."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Limits:
    """How a log is written. Seconds and bytes."""

    gather: float = 0.05
    """Longest time that a record waits to be written."""
    sync: float = 1.0
    """Longest time that a written record waits to be synced."""
    hurry: int = 1 << 20
    """Bytes waiting beyond which they are written at once."""
    rotate_bytes: int = 64 << 20
    rotate_seconds: float = 3600.0
    held: int = 64 << 20
    """Bytes kept in memory while the disk takes none."""
    retry: float = 0.25
    """Between two tries to write to a failing disk; a failing sync waits up to twenty times as long."""


@dataclass
class Tally:
    """What became of what was appended, counted since the log was opened."""

    written: int = 0
    """Records on disk."""
    dropped_content: int = 0
    """Records written without the content that they should have."""
    dropped_records: int = 0
    failures: int = 0
    """Writes and syncs that failed."""
