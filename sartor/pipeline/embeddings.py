"""Embeddings of texts under a base, kept in the vault: a second head on the same base costs seconds.

Texts are looked up by their own digest, so that data sets share what they have in common. Missing ones are computed
in chunks of fixed borders, each kept as soon as it is finished: a killed run goes on with the next chunk, and the
bytes are those of an undisturbed run, since batches never depend on where a run was cut.
"""

import hashlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from sartor.core.licence import Licence
from sartor.core.records import Artifact
from sartor.pipeline.workshop import Workshop

Vectors = npt.NDArray[np.float32]
CHUNK = 2048


class EmbeddingCache:
    """The vault's embeddings, base by base; shards are read once per process."""

    def __init__(self, shop: Workshop) -> None:
        self._shop = shop
        self._known: dict[str, dict[bytes, Vectors]] = {}

    def embed(self, base: str, texts: Sequence[str], compute: Callable[[list[str]], Vectors]) -> Vectors:
        """(texts, d) embeddings under the base with this digest; only unknown texts are computed."""
        known = self._load(base)
        keys = [hashlib.sha256(text.encode()).digest() for text in texts]
        missing = {key: text for key, text in zip(keys, texts, strict=True) if key not in known}
        waiting = list(missing.items())
        for start in range(0, len(waiting), CHUNK):
            self._shop.progress("embedding", start, len(waiting))
            chunk = waiting[start : start + CHUNK]
            vectors = np.asarray(compute([text for _, text in chunk]), dtype=np.float32)
            self._keep(base, [key for key, _ in chunk], vectors)
            known.update(zip((key for key, _ in chunk), vectors, strict=True))
        if waiting:
            self._shop.progress("embedding", len(waiting), len(waiting))
        return np.stack([known[key] for key in keys])

    def missing(self, base: str, texts: Sequence[str]) -> int:
        """How many of the texts have no embedding yet."""
        known = self._load(base)
        return len({key for text in texts if (key := hashlib.sha256(text.encode()).digest()) not in known})

    def _load(self, base: str) -> dict[bytes, Vectors]:
        if base not in self._known:
            from safetensors.numpy import load

            known: dict[bytes, Vectors] = {}
            store = self._shop.store
            shards = store.ledger.find(Artifact, name=_name(base), limit=100_000)
            for shard in shards:
                if store.vault.has(shard.files["shard.safetensors"]):
                    tensors = load(store.vault.read(shard.files["shard.safetensors"]))
                    keys = tensors["keys"].tobytes()
                    vectors = tensors["vectors"]
                    known.update((keys[i * 32 : i * 32 + 32], vector) for i, vector in enumerate(vectors))
            self._known[base] = known
        return self._known[base]

    def _keep(self, base: str, keys: list[bytes], vectors: Vectors) -> None:
        from safetensors.numpy import save

        joined = np.frombuffer(b"".join(keys), dtype=np.uint8).reshape(len(keys), 32)
        data = save({"keys": joined, "vectors": np.ascontiguousarray(vectors)})
        store = self._shop.store
        store.ledger.put(
            Artifact(
                name=_name(base),
                files={"shard.safetensors": store.vault.put_bytes(data)},
                parents={"base": base},
                made_by="pipeline.embeddings",
                licence=Licence.of("owned"),
                facts={"texts": len(keys)},
            )
        )


def _name(base: str) -> str:
    return f"embeddings/{base}"
