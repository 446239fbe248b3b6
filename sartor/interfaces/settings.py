"""What the environment says, read here and nowhere else; builds the Workshop that verbs are given."""

import getpass
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sartor.core.errors import AskError, NotFoundError
from sartor.core.progress import Progress, silent
from sartor.economics.unit_cost import CORE_HOUR

if TYPE_CHECKING:
    from sartor.pipeline.workshop import Workshop

VARIABLES = {
    "SARTOR_HOME": "folder of the store (default: ./.sartor)",
    "SARTOR_LEDGER_URL": "database of the ledger, e.g. postgresql+psycopg://host/db (default: SQLite in SARTOR_HOME)",
    "SARTOR_VAULT_URL": "files of the vault, e.g. s3://bucket/prefix (default: a folder in SARTOR_HOME)",
    "SARTOR_S3_ENDPOINT": "address of an S3-compatible server",
    "SARTOR_KEY": "signing key, outside the store (default: ~/.config/sartor/signing.key)",
    "SARTOR_CACHE": "downloads on their way into the vault (default: ~/.cache/sartor)",
    "SARTOR_THREADS": "threads for computing (default: all cores, at most 4)",
    "SARTOR_HOURLY_PRICE": "money per hour of one CPU core, in the task's currency (default: 0.04)",
    "SARTOR_CURRENCY": "currency of the gateway's books (default: EUR)",
    "SARTOR_RATES": "what one of another currency is in that one, e.g. USD=0.92,GBP=1.17 (default: none)",
    "SARTOR_SMTP_URL": "mail server for news, e.g. smtp://user:password@host:587?from=me@example.org (default: none)",
    "SARTOR_CHECKPOINT_SECONDS": "from one kept state of a long training to the next; 0 after each step (default: 60)",
    "SARTOR_UPLOAD_MB": "megabytes of the largest file that the data plane takes (default: 512)",
    "SARTOR_WHO": "who is recorded as having decided (default: the user's name)",
}
"""Every variable that Sartor reads."""


@dataclass(frozen=True)
class Settings:
    """The environment, read once."""

    home: Path
    ledger_url: str | None
    vault_url: str | None
    s3_endpoint: str | None
    key: Path
    cache: Path
    threads: int
    hourly_price: float
    currency: str
    rates: dict[str, float]
    checkpoint_seconds: float
    upload_megabytes: int
    who: str

    @classmethod
    def read(cls, home: Path | None = None) -> "Settings":
        """The settings of this process.

        Raises:
            AskError: a variable's value can't be read; it is named.
        """
        env = os.environ
        folder = home or Path(env.get("SARTOR_HOME", ".sartor"))
        default_key = Path(env.get("XDG_CONFIG_HOME", Path.home() / ".config")) / "sartor" / "signing.key"
        default_cache = Path(env.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sartor"
        return cls(
            home=folder.resolve(),
            ledger_url=env.get("SARTOR_LEDGER_URL"),
            vault_url=env.get("SARTOR_VAULT_URL"),
            s3_endpoint=env.get("SARTOR_S3_ENDPOINT"),
            key=Path(env.get("SARTOR_KEY", default_key)),
            cache=Path(env.get("SARTOR_CACHE", default_cache)),
            threads=int(_number("SARTOR_THREADS", min(os.cpu_count() or 1, 4))),
            hourly_price=_number("SARTOR_HOURLY_PRICE", CORE_HOUR),
            currency=env.get("SARTOR_CURRENCY", "EUR"),
            rates=_rates(env.get("SARTOR_RATES", "")),
            checkpoint_seconds=_number("SARTOR_CHECKPOINT_SECONDS", 60.0, zero=True),
            upload_megabytes=int(_number("SARTOR_UPLOAD_MB", 512)),
            who=env.get("SARTOR_WHO") or _user(),
        )

    def workshop(self, progress: Progress = silent, *, read_only: bool = False) -> "Workshop":
        """Open the store and set the process up for quiet, offline, repeatable work."""
        calm_libraries(self.threads)
        self._check_home(read_only)
        from sartor.pipeline.workshop import Workshop
        from sartor.store.opening import open_store

        store = open_store(
            self.home,
            ledger_url=self.ledger_url,
            vault_url=self.vault_url,
            read_only=read_only,
            storage_options=self.storage_options,
        )
        return Workshop(
            store=store,
            key=self.key,
            cache=self.cache,
            threads=self.threads,
            who=self.who,
            hourly_price=self.hourly_price,
            currency=self.currency,
            rates=self.rates,
            checkpoint_seconds=self.checkpoint_seconds,
            upload_megabytes=self.upload_megabytes,
            environment=os.environ,
            progress=progress,
        )

    @property
    def storage_options(self) -> dict[str, Any]:
        """What the vault's file system is told."""
        return {"client_kwargs": {"endpoint_url": self.s3_endpoint}} if self.s3_endpoint else {}

    def _check_home(self, read_only: bool) -> None:
        if self.home.exists() and not self.home.is_dir():
            raise AskError(f"The store can't be '{self.home}': that is a file. Name a folder.", code="home_is_a_file")
        if read_only and not self.home.exists() and self.ledger_url is None:
            raise NotFoundError(
                f"There is no store in '{self.home}'. Name its folder with --home or SARTOR_HOME, or make one: "
                "sartor run task.yaml",
                code="no_store",
            )


def calm_libraries(threads: int) -> None:
    """Settings of libraries for this process: no telemetry, no hub at run time, no spinning threads."""
    for name, value in {
        "HF_HUB_OFFLINE": "1",
        "TRANSFORMERS_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
        "HF_HUB_DISABLE_PROGRESS_BARS": "1",
        "TRANSFORMERS_VERBOSITY": "error",
        "DO_NOT_TRACK": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "OMP_WAIT_POLICY": "passive",
        "OMP_NUM_THREADS": str(threads),
    }.items():
        os.environ.setdefault(name, value)


def _rates(text: str) -> dict[str, float]:
    try:
        pairs = [part.split("=") for part in text.split(",") if part]
        found = {name.strip(): float(rate) for name, rate in pairs}
    except ValueError:
        found = {"": 0.0}
    if not all(name and 0 < rate < 1e6 for name, rate in found.items()):
        raise AskError(
            f"SARTOR_RATES={text!r} can't be read. Write e.g. USD=0.92,GBP=1.17, or unset it: "
            f"{VARIABLES['SARTOR_RATES']}.",
            param="SARTOR_RATES",
            code="bad_setting",
        )
    return found


def _number(name: str, default: float, *, zero: bool = False) -> float:
    text = os.environ.get(name)
    if text is None:
        return default
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value < 1e6 and not (zero and value == 0):
        raise AskError(
            f"{name}={text!r} is no positive number. Set one, or unset it: {VARIABLES[name]}.",
            param=name,
            code="bad_setting",
        )
    return value


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"
