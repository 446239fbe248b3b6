"""What every verb works with: store, key, threads, who asks. Built once by an interface, passed down."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sartor.core.progress import Progress, silent
from sartor.economics.unit_cost import CORE_HOUR, core_second
from sartor.store.opening import Store


@dataclass(frozen=True)
class Workshop:
    """The one object that interfaces build and hand to the verbs."""

    store: Store
    key: Path
    """Ed25519 key that signs decisions; stands outside the store."""
    cache: Path
    """Downloads on their way into the vault."""
    threads: int = 1
    who: str = "unknown"
    """Who is recorded as having decided."""
    hourly_price: float = CORE_HOUR
    """Money per hour of one CPU core, in the task's currency."""
    currency: str = "EUR"
    """Of the gateway's books."""
    rates: Mapping[str, float] = field(default_factory=dict)
    """Currency -> what one of it is in `currency`; a rate is the owner's decision, none is assumed."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Where secrets named by `env` are looked up, at the moment they are needed."""
    checkpoint_seconds: float = 60.0
    """From one kept state of a long training to the next; 0: after each step."""
    upload_megabytes: int = 512
    """Of the largest file that the data plane takes."""
    progress: Progress = silent

    @property
    def second_price(self) -> float:
        """Money per CPU second."""
        return core_second(self.hourly_price)
