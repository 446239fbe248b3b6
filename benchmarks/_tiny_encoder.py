"""Encoders as small as can be: width 32, random weights, a WordPiece tokenizer of a few words and all letters.

For tests and probes where it matters what is done to weights and not how well they answer. Knows nothing of Sartor.
"""

from pathlib import Path
from typing import Any

SUBJECTS = {"card": ["card", "plastic", "visa"], "cash": ["cash", "coins", "notes"], "rate": ["rate", "price", "fee"]}
"""Label -> words that give it away."""
FRAMES = ["my {} is wrong", "where is the {}", "no {} at all today", "please tell me about {}", "the {} again"]
SPECIAL = {"bert": ["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "roberta": ["<s>", "<pad>", "</s>", "<unk>"]}
SPECIAL["mpnet"] = SPECIAL["roberta"]


def write_encoder(folder: Path, kind: str = "bert", *, seed: int = 0, layers: int = 2) -> Path:
    """A random encoder of width 32 with a WordPiece tokenizer."""
    import torch
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import BertConfig, BertModel, MPNetConfig, MPNetModel, RobertaConfig, RobertaModel
    from transformers.utils import logging

    quiet: Any = logging
    quiet.disable_progress_bar()
    words = sorted({w for s in SUBJECTS.values() for w in s} | {w for f in FRAMES for w in f.split() if w != "{}"})
    letters = [mark + letter for letter in "abcdefghijklmnopqrstuvwxyz" for mark in ("", "##")]
    unused = [f"never{n}" for n in range(40)]
    names = [*SPECIAL[kind], *letters, *words, *unused]
    vocabulary = {word: place for place, word in enumerate(names)}
    first, last, unknown, pad = [(2, 3, "[UNK]", 0), (0, 2, "<unk>", 1)][kind != "bert"]
    made = {
        "bert": (BertConfig, BertModel),
        "roberta": (RobertaConfig, RobertaModel),
        "mpnet": (MPNetConfig, MPNetModel),
    }
    config, model = made[kind]
    shape = {"hidden_size": 32, "num_hidden_layers": layers, "num_attention_heads": 4, "intermediate_size": 64}
    state = torch.random.get_rng_state()
    torch.manual_seed(seed)
    built: Any = model(
        config(**shape, vocab_size=len(names), pad_token_id=pad, max_position_embeddings=140, initializer_range=0.2)
    )
    built.save_pretrained(folder)
    torch.random.set_rng_state(state)
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token=unknown))
    tokenizer.add_special_tokens(SPECIAL[kind])
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    ends = [(names[first], first), (names[last], last)]
    tokenizer.post_processor = processors.TemplateProcessing(f"{names[first]} $A {names[last]}", None, ends)
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder
