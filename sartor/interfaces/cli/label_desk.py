"""A sitting at the terminal: one key for each row. Also reads lines from a pipe, one word of the person in each.

Knows keys and the screen; what a label is and where it goes is the pipeline's business.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from sartor.core.errors import AskError, NotFoundError, nearest
from sartor.interfaces.cli.output import console, say
from sartor.pipeline.label_pool import Desk
from sartor.pipeline.label_words import Given, answer, check_label, counted, undo
from sartor.pipeline.labelling import Item, Sitting, queue, renew

PLACES = "123456789"
"""Keys of the labels that are offered."""
SEARCH, SKIP, UNSURE, UNDO, QUIT = "/", "s", "?", "u", "q"
RENEW_SECONDS = 120.0


class Keys(Protocol):
    """Where a person's words come from, as long as its block lasts."""

    def __enter__(self) -> Any: ...

    def __exit__(self, *_: object) -> None: ...

    def key(self) -> str:
        """The next key, or a whole word; '' where nobody is there any more."""
        ...

    def word(self) -> str:
        """What is typed after the key for searching."""
        ...


class Keyboard:
    """Single keys of a terminal, which is asked for keys as long as the block lasts: what is typed ahead counts."""

    def __enter__(self) -> "Keyboard":
        import termios
        import tty

        self._before: Any = termios.tcgetattr(sys.stdin)
        tty.setcbreak(sys.stdin, termios.TCSADRAIN)
        return self

    def __exit__(self, *_: object) -> None:
        self._set(self._before)

    def key(self) -> str:
        """The next key; '' at the end of the terminal. An arrow key comes as three, and is one that means nothing."""
        import select

        first = os.read(sys.stdin.fileno(), 1)
        if first == b"\x1b":
            for _ in range(2):
                if select.select([sys.stdin], [], [], 0.01)[0]:
                    os.read(sys.stdin.fileno(), 1)
        return first.decode("utf-8", "replace")

    def word(self) -> str:
        """A line, typed and mended as usual."""
        import termios

        keys = termios.tcgetattr(sys.stdin)
        self._set(self._before)
        try:
            print("  label: ", end="", flush=True)
            return sys.stdin.readline().strip()
        finally:
            self._set(keys)

    def _set(self, mode: Any) -> None:
        import termios

        termios.tcsetattr(sys.stdin, termios.TCSADRAIN, mode)


class Lines:
    """Lines of a pipe: `1`, `/part of a label`, a whole label, or a command."""

    def __init__(self) -> None:
        self._typed = ""

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def key(self) -> str:
        """The next line's command or label."""
        line = sys.stdin.readline()
        if not line:
            return ""
        line = line.strip()
        if line.startswith(SEARCH):
            self._typed = line[1:].strip()
            return SEARCH
        return line or SKIP

    def word(self) -> str:
        """What stood behind the slash."""
        return self._typed


def keys() -> Keys:
    """The keyboard where there is a terminal, else lines."""
    return Keyboard() if sys.stdin.isatty() else Lines()


@dataclass
class Done:
    """What came of a sitting."""

    id: str
    labels: int = 0
    skipped: int = 0
    unsure: int = 0
    undone: int = 0
    seconds: float = 0.0
    """Counted as work."""
    gain: float = 0.0
    """Money that the labels are expected to save per 1,000 requests."""


@dataclass
class Sit:
    """One person before one queue."""

    desk: Desk
    sitting: Sitting
    keys: Keys
    minutes: float = 0.0
    """After so long no further row is shown; 0: until there is none left."""
    size: int = 20
    refill: bool = True
    """Whether more is fetched when all was shown."""
    focus: tuple[str, ...] = ()
    clock: Callable[[], float] = time.monotonic
    done: Done = field(init=False)
    items: list[Item] = field(init=False)
    said: list[int] = field(default_factory=list)
    """Places of the rows that were labelled or skipped, in order."""

    def __post_init__(self) -> None:
        self.done, self.items = Done(self.sitting.id), list(self.sitting.items)

    def run(self) -> Done:
        """Show row after row until the person, the time or the queue ends."""
        with self.keys:
            return self._run()

    def _run(self) -> Done:
        begun = renewed = self.clock()
        place = 0
        while True:
            now = self.clock()
            if self.minutes and now - begun >= 60.0 * self.minutes:
                say("Time is up.")
                return self.done
            if place >= len(self.items) and not self._more():
                say("Nothing is left to label.")
                return self.done
            if now - renewed > RENEW_SECONDS:
                renew(self.desk, self.sitting.who, [item.item for item in self.items[place:]])
                renewed = now
            self._show(place)
            step = self._ask(place)
            if step is None:
                return self.done
            place += step

    def _more(self) -> bool:
        if not self.refill:
            return False
        seen = {item.item for item in self.items}
        try:
            new = queue(self.desk, self.sitting.who, self.size, focus=self.focus, sitting=self.sitting.id)
        except NotFoundError as error:
            if error.code != "nothing_to_label":
                raise
            return False
        fresh = [item for item in new.items if item.item not in seen]  # what was skipped stays skipped
        self.items += fresh
        return bool(fresh)

    def _ask(self, place: int) -> int | None:
        """By how many rows to go on, after one thing that the person said; None to end."""
        item, shown, offered = self.items[place], self.clock(), self._offered(self.items[place])
        while True:
            key = self.keys.key()
            if key in ("", QUIT):
                return None
            if key == SKIP:
                self.said.append(place)
                self.done.skipped += 1
                return 1
            if key == UNDO:
                if not self.said:
                    say("  There is nothing to take back.")
                    continue
                return self._back(place)
            if key == UNSURE:
                self._keep(item, "", shown)
                self.said.append(place)
                self.done.unsure += 1
                return 1
            label = self._label(key, offered)
            if label:
                self._keep(item, label, shown)
                self.said.append(place)
                self.done.labels += 1
                self.done.gain += item.gain
                return 1

    def _label(self, key: str, offered: list[str]) -> str:
        """The label that a key or word means; '' where it means none, and the person was told."""
        if len(key) == 1 and key in PLACES[: len(offered)]:
            return offered[int(key) - 1]
        if key != SEARCH:
            return self._known(key)
        word = self.keys.word()
        found = search(word, self.desk.labels)
        if len(found) == 1 or (found and found[0] == word):
            return found[0]
        if not found:
            return self._known(word)
        offered[:] = found[: len(PLACES)]
        _line(offered, ())
        return ""

    def _known(self, word: str) -> str:
        try:
            return check_label(self.desk, word)
        except (NotFoundError, AskError) as error:
            say(f"  {error.message}" if len(word) > 1 else "  That key means nothing here.")
            return ""

    def _keep(self, item: Item, label: str, shown: float) -> None:
        seconds = self.clock() - shown
        who, ident = self.sitting.who, self.sitting.id
        answer(self.desk, Given(item.item, who, label, item.picked, ident, seconds))
        self.done.seconds += counted(self.desk, seconds)

    def _back(self, place: int) -> int:
        last = self.said.pop()
        try:
            taken = undo(self.desk, self.items[last].item, self.sitting.who)
        except NotFoundError:  # it was skipped
            self.done.skipped -= 1
        else:
            self.done.undone += 1
            if taken["label"]:
                self.done.labels -= 1
                self.done.gain -= self.items[last].gain
            else:
                self.done.unsure -= 1
        return last - place

    def _offered(self, item: Item) -> list[str]:
        if item.guesses:
            return [label for label, _ in item.guesses][: len(PLACES)]
        return list(self.desk.labels) if len(self.desk.labels) <= len(PLACES) else []

    def _show(self, place: int) -> None:
        item, done, sitting = self.items[place], self.done, self.sitting
        money = done.seconds / 60.0 * self.desk.task.labelling.minute_price
        say()
        plain(f"{place + 1}/{len(self.items)}   {done.seconds / 60.0:.1f} min, {money:.2f} {sitting.currency}", "dim")
        if item.why or item.said:
            plain("  " + (f"Others say: {' or '.join(item.said)}. You decide." if item.said else item.why), "yellow")
        plain(f"  {item.text}", "bold")
        shares = [share for _, share in item.guesses]
        _line(self._offered(item), shares)
        plain("  / search   s skip   ? can't tell   u undo   q quit", "dim")


def plain(text: str, style: str = "") -> None:
    """A line whose words are never read as markup."""
    from rich.text import Text

    from sartor.interfaces.cli.output import mode

    if not (mode.json or mode.quiet):
        console().print(Text(text, style), soft_wrap=True)


def _line(labels: list[str], shares: Any) -> None:
    told = [f" {share:.0%}" for share in shares] + [""] * (len(labels) - len(shares))
    plain("  " + "   ".join(f"{key} {label}{share}" for key, label, share in zip(PLACES, labels, told, strict=False)))


def search(word: str, labels: tuple[str, ...]) -> list[str]:
    """Labels that a typed word may mean: itself, those that begin with it, those that hold it, the nearest."""
    low = word.lower()
    if not low:
        return []
    exact = [label for label in labels if label.lower() == low]
    begin = [label for label in labels if label.lower().startswith(low)]
    hold = [label for label in labels if low in label.lower()]
    near = nearest(word, labels)
    return exact or list(dict.fromkeys(begin + hold)) or ([near] if near else [])
