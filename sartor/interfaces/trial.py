"""A trial of a sweep as a program: JSON on stdin, JSON on stdout. A sweep starts it, here or through Ray elsewhere."""

import json
import os
import sys
from dataclasses import asdict


def main() -> None:
    """Do the one trial on stdin."""
    given = json.load(sys.stdin)
    os.environ.update(given["environment"])
    from sartor.interfaces.settings import Settings
    from sartor.pipeline.sweep_trial import read_trial, try_it

    out = sys.stdout
    sys.stdout = sys.stderr  # whatever libraries print is no answer
    shop = Settings.read(None).workshop()
    try:
        found = try_it(shop, read_trial(given["trial"]))
    finally:
        shop.store.close()
    json.dump(asdict(found), out)
    out.flush()


if __name__ == "__main__":
    main()
