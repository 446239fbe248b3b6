"""Static embeddings distilled here from an encoder: one vector a token, no torch to run."""

from sartor.core.shelf import plugin
from sartor.hub.entry import Distilled, Entry


@plugin
def static() -> list[Entry]:
    """The family's entries."""
    return [
        Entry(
            name="static-minilm",
            tier="small",
            engine="static",
            licence="Apache-2.0",
            home=Distilled(base="minilm", dimension=256),
            facts={
                "about": "Model2Vec of MiniLM, 29,525 tokens, fp16",
                "dimension": 256,
                "parameters": 7_558_400,
                "max_tokens": None,
                "languages": ["en"],
                "adapter_targets": [],
            },
        )
    ]
