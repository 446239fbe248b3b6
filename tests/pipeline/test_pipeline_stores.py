"""The same chain on PostgreSQL and S3, by two settings."""

import pytest

from sartor.core.records import Run
from sartor.pipeline import stock
from sartor.pipeline.decide import replay
from sartor.pipeline.run import run
from sartor.pipeline.workshop import Workshop
from sartor.store.opening import open_store


@pytest.mark.postgres
@pytest.mark.s3
def test_chain_on_postgres_and_s3(tmp_path, postgres_url, s3_bucket, desk, rows_folder, shop):
    store = open_store(
        tmp_path / "far", ledger_url=postgres_url, vault_url=s3_bucket.url, storage_options=s3_bucket.options
    )
    far = Workshop(store=store, key=shop.key, cache=shop.cache, who="tester")
    result = run(far, desk, rows_folder)
    assert result.version == "desk@v1"
    assert replay(far, result.decision.digest).reached == "ship"
    assert stock.verify(far, "desk")["files"] > 0
    runs = store.ledger.count(Run)
    assert run(far, desk, rows_folder).decision.digest == result.decision.digest
    assert store.ledger.count(Run) == runs
    assert run(shop, desk, rows_folder).variants == result.variants
    store.close()
