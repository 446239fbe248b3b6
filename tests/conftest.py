"""What tests of several rooms share: a throw-away PostgreSQL, an S3 server on loopback, and strictness about skips."""

import os
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from benchmarks._postgres import Cluster, cluster
from benchmarks._tiny_lm import write_tiny_lm

STRICT = os.environ.get("SARTOR_TEST_STRICT") == "1"
"""Set in CI: a test that was skipped for lack of a service or of data is a failure there."""


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if STRICT and report.skipped and not hasattr(report, "wasxfail") and _needs_what_ci_has(item, str(report.longrepr)):
        report.outcome = "failed"
        report.longrepr = f"Skipped, which SARTOR_TEST_STRICT=1 does not permit: {report.longrepr}"


@pytest.hookimpl(hookwrapper=True)
def pytest_make_collect_report(collector: pytest.Collector) -> Iterator[None]:
    outcome: Any = yield
    report = outcome.get_result()
    if STRICT and report.skipped and "SARTOR_DATA" in str(report.longrepr):
        report.outcome = "failed"


def _needs_what_ci_has(item: pytest.Item, reason: str) -> bool:
    marks = {mark.name for mark in item.iter_markers()} & {"postgres", "s3", "data"}
    services = {"postgres_server", "s3_server"} & set(getattr(item, "fixturenames", ()))
    return bool(marks or services or "SARTOR_DATA" in reason)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[Cluster]:
    """A PostgreSQL from the system's package, in a temporary folder."""
    pytest.importorskip("psycopg")
    with cluster() as server:
        if server is None:
            pytest.skip("PostgreSQL is not installed (Debian: apt-get install postgresql)")
        yield server


@pytest.fixture
def postgres_url(postgres_server: Cluster) -> Iterator[str]:
    """URL of a fresh, empty database."""
    name = postgres_server.database()
    yield postgres_server.url(name)
    postgres_server.execute(f"DROP DATABASE {name} WITH (FORCE)")


@dataclass(frozen=True)
class Bucket:
    """A bucket on the test server, and what a file system needs to reach it."""

    url: str
    options: dict[str, Any]


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """Address of an S3 server on loopback."""
    server_module = pytest.importorskip("moto.server", reason="the S3 test server (moto) is not installed")
    pytest.importorskip("s3fs")
    server = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3_bucket(s3_server: str) -> Bucket:
    """A fresh, empty bucket."""
    import s3fs

    options = {"key": "test", "secret": "test", "endpoint_url": s3_server}
    name = f"b{uuid.uuid4().hex[:12]}"
    s3fs.S3FileSystem(**options).mkdir(name)
    return Bucket(f"s3://{name}", options)


@pytest.fixture(scope="session")
def data_folder() -> Path:
    """The public data sets; never copied into the project."""
    root = Path(__file__).parents[1]
    folder = Path(os.environ.get("SARTOR_DATA", root.parent / "shared" / "data"))
    if not (folder / "banking77" / "train.jsonl").is_file():
        pytest.skip(f"no data sets in {folder}: set SARTOR_DATA")
    return folder


@dataclass(frozen=True)
class TinyLinear:
    """A real linear variant, made the way the file format says, and the scikit-learn objects that it came from."""

    folder: Path
    labels: tuple[str, ...]
    vectorizers: tuple[Any, ...]
    classifier: Any


TINY_ROWS = {
    "card": ["my card has not arrived", "the card is lost", "card was stolen today", "when does my new card come"],
    "money": ["transfer did not go through", "where is my money", "the transfer is pending", "send money abroad"],
    "other": ["change my address", "close the account", "verify my identity", "what is your phone number"],
}


@pytest.fixture(scope="session")
def tiny_linear(tmp_path_factory: pytest.TempPathFactory) -> TinyLinear:
    """Words and characters, logistic regression, three labels; no code of the training room."""
    import json

    import numpy as np
    from safetensors.numpy import save_file
    from scipy.sparse import hstack
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    texts, targets = zip(*((text, label) for label, rows in TINY_ROWS.items() for text in rows), strict=True)
    parts = [{"analyzer": "word", "ngram": [1, 2]}, {"analyzer": "char_wb", "ngram": [2, 4]}]
    fitted = [TfidfVectorizer(analyzer=p["analyzer"], ngram_range=tuple(p["ngram"]), sublinear_tf=True) for p in parts]
    features = hstack([v.fit_transform(texts) for v in fitted]).tocsr()
    model = LogisticRegression(C=10).fit(features, targets)
    specs = [
        p
        | {"sublinear": True, "min_df": 1, "lowercase": True, "strip_accents": None}
        | {"vocabulary": {term: int(i) for term, i in v.vocabulary_.items()}}
        for p, v in zip(parts, fitted, strict=True)
    ]
    folder = tmp_path_factory.mktemp("linear")
    (folder / "vectorizer.json").write_text(json.dumps({"kind": "tfidf", "parts": specs}))
    arrays = {"idf": np.concatenate([v.idf_ for v in fitted]), "weight": model.coef_, "bias": model.intercept_}
    save_file({k: np.ascontiguousarray(a, dtype=np.float32) for k, a in arrays.items()}, folder / "linear.safetensors")
    calibration = {"temperature": 0.5, "energy": [-3.0, 1.0], "novelty": None, "threshold": 2.0}
    (folder / "calibration.json").write_text(json.dumps(calibration))
    return TinyLinear(folder, tuple(TINY_ROWS), tuple(fitted), model)


@pytest.fixture(scope="session")
def tiny_lm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a causal language model of two layers, random weights, with tokenizer and chat template."""
    pytest.importorskip("transformers")
    return write_tiny_lm(tmp_path_factory.mktemp("tiny-lm") / "base")


@pytest.fixture(scope="session")
def base_folder() -> Callable[[str], Path]:
    """Folder of a base that `make test` fetched beforehand; tests themselves stay offline."""
    root = Path(__file__).parents[1] / ".sartor" / "bases"

    def folder(name: str) -> Path:
        if not (root / "ledger.db").is_file():
            pytest.skip(f"no bases in {root}: run make test, or sartor --home {root} hub fetch {name}")
        from sartor.core.records import Base
        from sartor.store.opening import open_store

        store = open_store(root)
        try:
            return store.folder(store.ledger.find(Base, name=name, limit=1)[0])
        finally:
            store.close()

    return folder
