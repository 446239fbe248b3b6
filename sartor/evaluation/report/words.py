"""Figures as people read them: money, shares, times, sizes. Knows nothing of HTML.

Thousands are parted by a comma, the sign is a true minus, and a figure that is missing or not finite says so in words.
"""

import math
import re
from typing import TypeGuard

from sartor.core.records import Metric

MISSING = "not measured"
SYMBOLS = {"EUR": "€", "USD": "$", "GBP": "£", "JPY": "¥"}
THIN = "\u202f"
UNITLESS_SHARES = frozenset({"accuracy", "macro_f1"})
"""Metrics between 0 and 1 that read best as a percentage even where their unit does not say so."""
TITLES = {
    "accuracy": "Right answers",
    "macro_f1": "Macro-F1",
    "top_accuracy": "Most probable label right",
    "calibration_error": "Calibration error",
    "coverage": "Answered without asking",
    "level_accuracy": "Right class",
    "out_of_scope_auroc": "Out of scope, AUROC",
    "out_of_scope_recall": "Out of scope, recall",
}
OBLIGATIONS = {
    "attribution": "Name the authors and keep their licence text with the model.",
    "share_alike": "Pass the model on only under the same licence.",
    "no_commercial": "No commercial use.",
    "no_training": "The terms forbid training other models on this.",
}


def known(value: float | None) -> TypeGuard[float]:
    """Whether there is a figure to show."""
    return value is not None and math.isfinite(value)


def number(value: float, decimals: int) -> str:
    """A number with thousands parted and a true minus; a rounded zero has no sign."""
    text = f"{abs(value):,.{decimals}f}"
    return f"−{text}" if value < 0 and any(c in "123456789" for c in text) else text


def _decimals(value: float) -> int:
    """Decimals that keep money readable: cents from a cent on, two significant digits below."""
    size = abs(value)
    if size >= 1000 or size == 0:
        return 0
    if size >= 0.1:
        return 2
    return min(1 - math.floor(math.log10(size)), 12)


def money(value: float | None, currency: str, *, signed: bool = False) -> str:
    """An amount with its currency: €1,240, −€3.10, €0.000012."""
    if not known(value):
        return MISSING
    body = number(abs(value), _decimals(value))
    symbol = SYMBOLS.get(currency)
    shown = f"{symbol}{body}" if symbol else f"{body}{THIN}{currency}"
    sign = "−" if value < 0 else "+" if signed and value > 0 else ""
    return sign + shown


def share(value: float | None, *, signed: bool = False) -> str:
    """A share as a percentage with one decimal."""
    if not known(value):
        return MISSING
    sign = "+" if signed and value > 0 else ""
    return f"{sign}{number(value * 100, 1)}{THIN}%"


def round_money(value: float, currency: str) -> str:
    """An amount for the ticks of a scale: no decimals where they are all zero."""
    text = money(value, currency)
    return re.sub(r"\.0+(?!\d)|(\.\d*[1-9])0+(?!\d)", lambda m: m[1] or "", text)


def round_share(value: float) -> str:
    """A share for the ticks of a scale: 90 %, 92.5 %."""
    return percent(value) if abs(value * 100 - round(value * 100)) < 1e-9 else share(value)


def reach(low: float | None, high: float | None, currency: str) -> str:
    """The range of a saving, with losses named as such: between €5.00 lost and €0.40 saved."""
    if not (known(low) and known(high)):
        return ""
    ends = [money(abs(v), currency) for v in (low, high)]
    if low < 0 < high:
        return f"between {ends[0]} lost and {ends[1]} saved"
    near, far = ends if low >= 0 else ends[::-1]
    return f"between {near} and {far}"


def percent(value: float) -> str:
    """A share as a whole percentage: 95 %."""
    return f"{value * 100:.0f}{THIN}%"


def points(value: float | None) -> str:
    """A difference of shares in percentage points, with its sign and without the unit."""
    if not known(value):
        return MISSING
    return f"{'+' if value > 0 else ''}{number(value * 100, 1)}"


def seconds(value: float | None) -> str:
    """A duration: 8.2 s, 3 min 20 s, 1 h 5 min."""
    if not known(value):
        return MISSING
    if value < 60:
        return f"{number(value, 1 if value >= 0.1 else 3)}{THIN}s"
    whole = round(value)
    if whole < 3600:
        return f"{whole // 60}{THIN}min {whole % 60}{THIN}s"
    return f"{whole // 3600:,}{THIN}h {whole % 3600 // 60}{THIN}min"


def milliseconds(value: float | None) -> str:
    """A latency: 0.012 ms, 3.1 ms, 840 ms."""
    if not known(value):
        return MISSING
    return f"{number(value, 0 if value >= 100 else 1 if value >= 1 else 3)}{THIN}ms"


def size(value: int | None) -> str:
    """A size in bytes: 420 B, 3.1 MB."""
    if value is None:
        return MISSING
    amount, units = float(value), ["B", "kB", "MB", "GB"]
    while amount >= 1000 and len(units) > 1:
        amount /= 1000
        units.pop(0)
    return f"{number(amount, 0 if units[0] == 'B' or amount >= 100 else 1)}{THIN}{units[0]}"


def days(value: float | None) -> str:
    """A payback time: on the first day, 9 days, 5 months, 3.2 years."""
    if not known(value):
        return "never"
    if value < 1:
        return "on the first day"
    if value < 60:
        whole = math.ceil(value)
        return f"{whole} day" if whole == 1 else f"{whole} days"
    return f"{value / 30:.0f} months" if value < 720 else f"{value / 365:.1f} years"


def rows(count: int | None) -> str:
    """A number of rows in words."""
    if count is None:
        return MISSING
    return "1 row" if count == 1 else f"{count:,} rows"


def title_of(metric: str) -> str:
    """The heading of a metric."""
    stem, _, part = metric.partition(":")
    title = TITLES.get(stem, stem.replace("_", " ").capitalize())
    return f"{title}: {part}" if part else title


def is_share(name: str, metric: Metric) -> bool:
    """Whether a metric is shown as a percentage."""
    return metric.unit.startswith("share") or name in UNITLESS_SHARES


def figure(name: str, metric: Metric, currency: str) -> str:
    """The value of a metric in its unit."""
    return _in_unit(metric.value, name, metric, currency)


def interval(name: str, metric: Metric, currency: str) -> str:
    """The interval of a metric in its unit, '' where it has none."""
    if not (known(metric.low) and known(metric.high)):
        return ""
    return f"{_in_unit(metric.low, name, metric, currency)} to {_in_unit(metric.high, name, metric, currency)}"


def _in_unit(value: float | None, name: str, metric: Metric, currency: str) -> str:
    if not known(value):
        return MISSING
    if is_share(name, metric):
        return share(value)
    if name.startswith("money") or metric.unit.startswith("money"):
        return money(value, currency)
    return f"{number(value, 3)}{THIN + metric.unit if metric.unit else ''}"


def shorten(text: str, limit: int = 180) -> str:
    """Text on one line, cut at a word where it is longer than `limit`."""
    line = " ".join(text.split())
    if len(line) <= limit:
        return line
    cut = line[:limit].rsplit(" ", 1)[0] if " " in line[:limit] else line[:limit]
    return f"{cut} …"


def spread(values: list[float | None]) -> tuple[float, float]:
    """Lowest and highest finite value; (0, 1) where there is none."""
    found = [v for v in values if known(v)]
    return (min(found), max(found)) if found else (0.0, 1.0)
