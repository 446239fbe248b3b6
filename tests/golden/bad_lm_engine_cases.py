"""What can be wrong where a language model writes: a text longer than it reads, a base of another build."""

import json
from pathlib import Path

import pytest
from golden_house import House, Said

from benchmarks._tiny_lm import write_tiny_lm

TASK = """\
name: sums
kind: generate
answer: {{instructions: Write the sum., max_tokens: 8}}
data:
  sources:
    - {{use: jsonl, path: sums.jsonl, licence: owned}}
candidates:
  - {{recipe: prompt, name: told, base: 'folder:{base}', params: {{shots: [0]}}}}
gate: {{min_rows: 2, floor: told}}
"""


def told(house: House, base: Path, more: str = "") -> Said:
    """A task of sums whose candidate only tells the base what to do."""
    rows = [
        {"text": f"Sally had {n} apples and gave 3 of them away.{more}", "label": f"{n} - 3"} for n in range(20, 50)
    ]
    house.write("sums.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    house.write("sums.yaml", TASK.format(base=base))
    return house.sartor("run", "sums.yaml")


def text_longer_than_the_context(house: House) -> Said:
    pytest.importorskip("transformers")
    return told(house, write_tiny_lm(house.folder / "small"), " They were hers." * 80)


def base_of_another_build(house: House) -> Said:
    pytest.importorskip("transformers")
    from transformers import AutoTokenizer, GPT2Config, GPT2LMHeadModel

    tokenizer = AutoTokenizer.from_pretrained(write_tiny_lm(house.folder / "small"))
    other = house.folder / "other"
    GPT2LMHeadModel(GPT2Config(vocab_size=len(tokenizer), n_layer=1, n_embd=8, n_head=1)).save_pretrained(other)
    tokenizer.save_pretrained(other, save_jinja_files=False)
    return told(house, other)


CASES = {
    "text_longer_than_the_context": text_longer_than_the_context,
    "base_of_another_build": base_of_another_build,
}
