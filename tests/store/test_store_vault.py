"""The vault's contract, the same on a disk and in a bucket."""

import hashlib
import os
import threading
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from sartor.core.errors import AskError, NotFoundError, StoreError
from sartor.core.licence import Licence
from sartor.core.records import Artifact
from sartor.store.opening import Store, open_store
from sartor.store.vault import Vault

Opener = Callable[..., Store]
BIG = os.urandom(1 << 16) * 48
"""3 MiB: several chunks."""


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def overwrite(path: Path, data: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(data)


def test_bytes_come_back_as_they_were(vault: Vault, tmp_path: Path) -> None:
    for data in (b"", b"hello", BIG):
        digest = vault.put_bytes(data)
        assert digest == sha(data)
        assert vault.read(digest) == data
        assert vault.path(digest).read_bytes() == data
        assert vault.has(digest)
    source = tmp_path / "file"
    source.write_bytes(BIG)
    assert vault.put_file(source) == sha(BIG)
    assert source.exists()
    assert list(vault.digests()) == sorted(map(sha, (b"", b"hello", BIG)))
    assert {s.digest: s.bytes for s in vault.stored()}[sha(BIG)] == len(BIG)
    assert all(abs(s.written - time.time()) < 60 for s in vault.stored())


def test_what_is_not_there_is_said_to_be_missing(vault: Vault) -> None:
    assert not vault.has("0" * 64)
    with pytest.raises(NotFoundError, match="has no file"):
        vault.read("0" * 64)
    assert list(vault.digests()) == []
    assert not vault.remove("0" * 64)


def test_a_digest_is_no_path(vault: Vault) -> None:
    for wrong in ("", "../../../etc/passwd", "ab/" + "0" * 61, "A" * 64, "0" * 63, "0" * 64 + "\n"):
        for ask in (vault.has, vault.read, vault.path, vault.remove):
            with pytest.raises(NotFoundError, match="no sha256"):
                ask(wrong)


def test_a_removed_file_is_gone_and_can_be_stored_again(vault: Vault) -> None:
    digest = vault.put_bytes(b"x")
    assert vault.remove(digest)
    assert not vault.has(digest)
    with pytest.raises(NotFoundError):
        vault.read(digest)
    assert vault.put_bytes(b"x") == digest
    assert vault.read(digest) == b"x"


def test_a_file_stored_since_is_not_removed(vault: Vault) -> None:
    digest = vault.put_bytes(b"x")
    assert not vault.remove(digest, before=time.time() - 60)
    assert vault.read(digest) == b"x"


def test_a_folder_keeps_its_names(vault: Vault, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    (folder / "encoder").mkdir(parents=True)
    (folder / "encoder" / "config.json").write_bytes(b"{}")
    (folder / "weights").write_bytes(BIG)
    (folder / "empty").mkdir()
    files = vault.put_folder(folder)
    assert files == {"encoder/config.json": sha(b"{}"), "weights": sha(BIG)}
    assert list(files) == sorted(files)
    laid = vault.lay_out(files, tmp_path / "laid")
    assert (laid / "encoder" / "config.json").read_bytes() == b"{}"
    assert (laid / "weights").read_bytes() == BIG
    assert vault.fits(files, laid)


def test_a_folder_with_a_link_is_refused(vault: Vault, tmp_path: Path) -> None:
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "key").symlink_to("/etc/passwd")
    with pytest.raises(AskError, match="plain files only"):
        vault.put_folder(tmp_path / "model")


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "", "a//b", "./a", "a\\..\\b", "a\0b", "..", "a/"])
def test_a_name_that_leads_out_is_refused_before_anything_is_written(tmp_path: Path, store: Store, name: str) -> None:
    digest = store.vault.put_bytes(b"x")
    target = tmp_path / "deep" / "laid"
    with pytest.raises(AskError, match="must not lead out"):
        store.vault.lay_out({"fine": digest, name: digest}, target)
    assert not target.exists()


def test_damage_is_found_and_named(store: Store) -> None:
    digest = store.vault.put_bytes(b"right")
    path = store.vault.path(digest)
    overwrite(path, b"wrong")
    for ask in (store.vault.read, store.vault.path):
        with pytest.raises(StoreError, match=f"{path}.*sartor restore") as caught:
            ask(digest)
        assert caught.value.code == "file_damaged"
    assert store.vault.put_bytes(b"right") == digest  # storing it again heals it
    assert store.vault.read(digest) == b"right"


@pytest.mark.s3
def test_a_damaged_cache_is_fetched_again(tmp_path: Path, s3_bucket: Any) -> None:
    with closing(open_store(tmp_path, vault_url=s3_bucket.url, storage_options=s3_bucket.options)) as store:
        digest = store.vault.put_bytes(b"right")
        overwrite(store.vault.path(digest), b"wrong")
        assert store.vault.read(digest) == b"right"


@pytest.mark.s3
def test_damage_in_a_bucket_is_found_and_named(tmp_path: Path, s3_bucket: Any) -> None:
    import s3fs

    how = {"vault_url": s3_bucket.url, "storage_options": s3_bucket.options}
    with closing(open_store(tmp_path / "here", **how)) as store:
        digest = store.vault.put_bytes(b"right")
        (key,) = s3fs.S3FileSystem(**s3_bucket.options).find(s3_bucket.url)
        s3fs.S3FileSystem(**s3_bucket.options).pipe_file(key, b"wrong")
        assert store.vault.read(digest) == b"right"  # from the cache
    with closing(open_store(tmp_path / "there", **how)) as store:
        with pytest.raises(StoreError, match=f"{digest}.*sartor restore"):
            store.vault.read(digest)
        assert list(store.temp.iterdir()) == []
        assert not store.vault.disk.has(digest)


def test_another_machine_reads_what_this_one_stored(vault_opener: Opener) -> None:
    digest = vault_opener().vault.put_bytes(BIG)
    other = vault_opener("there").vault
    assert other.has(digest)
    assert other.read(digest) == BIG


def test_many_threads_store_the_same_bytes(vault_opener: Opener) -> None:
    vaults = [vault_opener(f"host{n}").vault for n in range(4)]
    found: list[str] = []
    threads = [threading.Thread(target=lambda v=v: found.append(v.put_bytes(BIG))) for v in vaults]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [sha(BIG)] * 4
    assert vaults[0].read(sha(BIG)) == BIG


def test_a_read_only_vault_reads_and_refuses_to_write(vault_opener: Opener) -> None:
    digest = vault_opener().vault.put_bytes(b"x")
    vault = vault_opener(read_only=True).vault
    assert vault.read(digest) == b"x"
    for write in (lambda: vault.put_bytes(b"y"), lambda: vault.remove(digest)):
        with pytest.raises(StoreError, match="opened read-only"):
            write()
    assert vault.read(digest) == b"x"


def test_an_artifact_is_laid_out_once_and_made_again_when_it_was_touched(vault_opener: Opener) -> None:
    store = vault_opener()
    files = {"a/config.json": store.vault.put_bytes(b"{}"), "weights": store.vault.put_bytes(BIG)}
    artifact = Artifact(name="model", files=files, licence=Licence.of("owned"))
    folder = store.folder(artifact)
    inode = folder.stat().st_ino
    assert store.folder(artifact) == folder
    assert folder.stat().st_ino == inode
    assert (folder / "weights").read_bytes() == BIG

    (folder / "stray").write_bytes(b"")
    (folder / "weights").unlink()
    assert sorted(p.name for p in store.folder(artifact).rglob("*")) == ["a", "config.json", "weights"]
    assert list(store.temp.iterdir()) == []


def test_an_artifact_whose_file_is_missing_is_not_laid_out(store: Store) -> None:
    artifact = Artifact(name="model", files={"weights": "0" * 64}, licence=Licence.of("owned"))
    with pytest.raises(StoreError, match="not whole"):
        store.folder(artifact)
    assert not (store.laid / artifact.digest).exists()
    assert list(store.temp.iterdir()) == []


def test_files_are_private_and_write_once(store: Store) -> None:
    path = store.vault.path(store.vault.put_bytes(b"x"))
    assert path.stat().st_mode & 0o777 == 0o400
    assert store.temp.stat().st_mode & 0o777 == 0o700
    assert path.relative_to(store.root).parts[:2] == ("vault", "sha256")


def test_a_file_is_hashed_again_only_when_it_changed(store: Store) -> None:
    from sartor.store.disk import Disk

    digest = store.vault.put_bytes(os.urandom(32 << 20))
    fresh = Disk(store.vault.disk.folder, store.temp)

    def seconds() -> float:
        started = time.perf_counter()
        fresh.path(digest)
        return time.perf_counter() - started

    assert seconds() > 20 * min(seconds() for _ in range(5))


def test_a_vault_in_another_folder_is_a_vault_on_disk(tmp_path: Path) -> None:
    with closing(open_store(tmp_path / "store", vault_url=f"file://{tmp_path}/other%20disk")) as store:
        digest = store.vault.put_bytes(b"x")
        assert store.vault.bucket is None
        assert store.vault.path(digest).is_relative_to(tmp_path / "other disk" / "sha256")
        assert list(store.vault.digests()) == [digest]


def test_urls_that_cannot_be_used_say_why(tmp_path: Path) -> None:
    for url, says in (("bucket/prefix", "no vault URL"), ("teapot://bucket", "teapot")):
        with pytest.raises(AskError, match=says):
            open_store(tmp_path, vault_url=url)


@pytest.mark.s3
def test_a_bucket_that_is_not_there_is_named(tmp_path: Path, s3_bucket: Any) -> None:
    store = open_store(tmp_path, vault_url="s3://no-such-bucket", storage_options=s3_bucket.options)
    with closing(store), pytest.raises(StoreError, match="no-such-bucket"):
        store.vault.put_bytes(b"x")
