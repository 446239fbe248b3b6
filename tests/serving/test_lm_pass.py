"""One pass over mixed runs computes what transformers and peft compute for each of them alone."""

import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
peft = pytest.importorskip("peft", reason="the extra 'train' is not installed")

from benchmarks._tiny_lm import write_tiny_adapter  # noqa: E402
from sartor.core.errors import AskError, RefusedError, StoreError  # noqa: E402
from sartor.serving.causal import Causal, Run  # noqa: E402
from sartor.serving.causal_adapter import read_adapter  # noqa: E402
from sartor.serving.causal_mix import Bank  # noqa: E402

COUNT = 5


@pytest.fixture(scope="module")
def model(tiny_lm: Path) -> Causal:
    return Causal(tiny_lm, threads=1, dtype="float32")


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
def test_mixed_runs_are_each_what_peft_computes(tiny_lm: Path, model: Causal, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    folders = [write_tiny_adapter(tmp_path / f"a{i}", seed=i, rank=2 + i) for i in range(COUNT)]
    ours = [read_adapter(folder, folder.name, model.shape, torch.float32) for folder in folders]
    theirs = peft.PeftModel.from_pretrained(
        AutoModelForCausalLM.from_pretrained(tiny_lm, dtype=torch.float32), folders[0], adapter_name="a0"
    ).eval()
    for folder in folders[1:]:
        theirs.load_adapter(folder, adapter_name=folder.name)

    def wanted(tokens: list[int], who: int | None) -> torch.Tensor:
        with torch.inference_mode():
            if who is None:
                with theirs.disable_adapter():
                    return theirs(torch.tensor([tokens])).logits[0, -1]
            theirs.set_adapter(f"a{who}")
            return theirs(torch.tensor([tokens])).logits[0, -1]

    drawn = random.Random(0)
    bank = Bank()  # the same for all: adapters come, stay and go
    for _ in range(8):
        cache, count = model.new_cache(), drawn.randint(1, 9)
        who = [drawn.choice([None, *range(COUNT)]) for _ in range(count)]
        texts = [[drawn.randint(3, 390) for _ in range(drawn.randint(1, 30))] for _ in range(count)]
        seen = [0] * count
        for turn in range(3):
            rows = [row for row in range(count) if turn == 0 or drawn.random() < 0.8] or [0]
            runs = [Run(row, seen[row], texts[row][seen[row] :]) for row in rows]
            mix = bank.mix([None if who[r] is None else ours[who[r]] for r in rows], [len(run.tokens) for run in runs])
            found = model.logits(runs, cache, mix)
            for row, logits in zip(rows, found, strict=True):
                torch.testing.assert_close(logits, wanted(texts[row], who[row]), atol=2e-3, rtol=0)
                seen[row] = len(texts[row])
            for row in range(count):
                if seen[row] == len(texts[row]):
                    texts[row] += [drawn.randint(3, 390) for _ in range(drawn.choice([1, 1, 3]))]


def test_an_adapter_for_another_base_or_of_another_kind_is_refused(
    tiny_lm: Path, model: Causal, tmp_path: Path
) -> None:
    import json
    from dataclasses import replace

    folder = write_tiny_adapter(tmp_path / "a", seed=1)
    with pytest.raises(
        RefusedError, match=r"another base.*changes self_attn\.k_proj from 32 to 16 numbers, and this base has 64 to 16"
    ):
        read_adapter(folder, "a", replace(model.shape, wide=64), torch.float32)
    with pytest.raises(RefusedError, match="this base has 1 layers"):
        read_adapter(folder, "a", replace(model.shape, layers=1), torch.float32)
    settings = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps(settings | {"use_dora": True}))
    with pytest.raises(RefusedError, match="use_dora=True"):
        read_adapter(folder, "a", model.shape, torch.float32)
    (folder / "adapter_model.safetensors").write_bytes(b"no")
    with pytest.raises(StoreError, match="Loading an adapter failed"):
        read_adapter(folder, "a", model.shape, torch.float32)


def test_a_base_of_another_build_is_named(tiny_lm: Path, tmp_path: Path) -> None:
    from transformers import GPT2Config

    GPT2Config(n_layer=1, n_embd=8, n_head=1).save_pretrained(tmp_path)
    with pytest.raises(AskError, match="llama, mistral, qwen2; this base is a 'gpt2'"):
        Causal(tmp_path, threads=1, dtype="float32")
    with pytest.raises(StoreError, match="Fetch or make it again"):
        Causal(tmp_path / "nothing", threads=1, dtype="float32")
