"""Find rows whose label is probably wrong: confident learning on out-of-fold predictions of a plain text model.

Northcutt, Jiang and Chuang (2021), "Confident learning: estimating uncertainty in dataset labels", by cleanlab. The
model sees words only, so look at the rows before dropping them. Needs the extra `train`.
"""

from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from pydantic import Field

from sartor.core.canonical import sha256
from sartor.core.rows import Row
from sartor.core.shelf import Params as Settings
from sartor.core.shelf import plugin
from sartor.data.curator import Bench, Curated, Taken

if TYPE_CHECKING:
    from sartor.core.predict import Floats
    from sartor.core.value import Ints

EXAMPLES = 20


class Params(Settings):
    """What is done about them."""

    action: Literal["report", "drop"] = "report"
    """drop takes out training rows only: a test must not lose the rows that a model finds hard."""
    folds: Annotated[int, Field(ge=2, le=20)] = 5
    """Parts of the rows, each scored by a model of the others."""


@plugin
def label_errors(rows: list[Row], params: Params, bench: Bench) -> Curated:
    """Score each training label by a model that has not seen it; labels with fewer rows than folds are left out."""
    from cleanlab.filter import find_label_issues

    train = [row for row in rows if bench.split(row) == "train"]
    counts = Counter(row.label or "" for row in train)
    labels = sorted(label for label, n in counts.items() if n >= params.folds)
    looked = [row for row in train if (row.label or "") in set(labels)]
    if len(labels) < 2:
        return Curated(rows, notes={"suspects": 0, "why": f"fewer than two labels have {params.folds} training rows"})
    targets = np.array([labels.index(row.label or "") for row in looked])
    chances = out_of_fold(looked, targets, params.folds, bench)
    ranked = find_label_issues(targets, chances, return_indices_ranked_by="self_confidence", n_jobs=1)
    details = {
        looked[i].id: f"labelled '{looked[i].label}' ({chances[i, targets[i]]:.0%}), "
        f"reads like '{labels[int(chances[i].argmax())]}' ({chances[i].max():.0%})"
        for i in (int(at) for at in ranked)
    }
    by_id = {row.id: row for row in looked}
    notes: dict[str, Any] = {
        "looked_at": len(looked),
        "suspects": len(details),
        "examples": [{"id": i, "text": by_id[i].text[:120], "why": why} for i, why in list(details.items())[:EXAMPLES]],
    }
    if params.action == "report":
        return Curated(rows, notes=notes)
    kept = [row for row in rows if row.id not in details]
    return Curated(kept, [Taken(r, "probable label error", details[r.id]) for r in rows if r.id in details], notes)


def out_of_fold(rows: list[Row], targets: "Ints", folds: int, bench: Bench) -> "Floats":
    """Probabilities for each row from TF-IDF and logistic regression fitted on the other folds.

    Groups are never cut by a fold. Returns (rows, labels).
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    fold = _folds(rows, folds)
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2 if len(rows) > 200 else 1, dtype=np.float32)
    features = words.fit_transform([row.text for row in rows])  # counts of words alone: no label is looked at
    chances = np.zeros((len(rows), int(targets.max()) + 1))
    for k in range(folds):
        bench.progress("label_errors: folds", k, folds)
        held = fold == k
        if not held.any() or held.all():
            continue
        model = LogisticRegression(C=10.0, tol=1e-3, max_iter=300).fit(features[~held], targets[~held])
        chances[np.ix_(held, model.classes_)] = model.predict_proba(features[held])
    return chances


def _folds(rows: list[Row], folds: int) -> "Ints":
    """Fold of each row: in each label, the rows or groups in turn, in the order of a hash."""
    units: defaultdict[str, list[int]] = defaultdict(list)
    for i, row in enumerate(rows):
        units[f"group:{row.group}" if row.group is not None else f"row:{row.id}"].append(i)
    turns: Counter[str] = Counter()
    fold = np.zeros(len(rows), dtype=np.int64)
    for name in sorted(units, key=lambda unit: sha256(unit.encode())):
        label = rows[units[name][0]].label or ""
        fold[units[name]] = turns[label] % folds
        turns[label] += 1
    return fold
