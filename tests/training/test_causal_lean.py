"""The lean loop's own forward pass gives what transformers and peft give: hidden states, losses, gradients, files."""

import json

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("peft", reason="the extra 'train' is not installed")

from causal_house import INSTRUCTIONS, rows  # noqa: E402

from sartor.training import causal_plain  # noqa: E402
from sartor.training.causal import tokenizer_of  # noqa: E402
from sartor.training.causal_batch import Scale, collate, passes  # noqa: E402
from sartor.training.causal_lean import knows, load  # noqa: E402
from sartor.training.causal_learners import Adapters, Kept, Whole  # noqa: E402
from sartor.training.causal_rows import Reader, common, shared  # noqa: E402
from sartor.training.device import Device  # noqa: E402

TARGETS = ("q_proj", "v_proj", "o_proj", "gate_proj", "down_proj")


@pytest.fixture(scope="module")
def bases(tiny_lm, tmp_path_factory):
    """The tiny model, and one of another build: biases on queries, keys and values, a head of its own."""
    from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

    home = tmp_path_factory.mktemp("bases") / "qwen"
    tokenizer = AutoTokenizer.from_pretrained(tiny_lm)
    torch.manual_seed(0)
    config = Qwen2Config(
        vocab_size=len(tokenizer), hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4,
        num_key_value_heads=2, initializer_range=0.2, tie_word_embeddings=False, use_sliding_window=False,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config)
    for name, weight in model.named_parameters():
        if name.endswith("bias") or "norm" in name:
            weight.data += torch.randn_like(weight) * 0.1
    model.save_pretrained(home)
    tokenizer.save_pretrained(home)
    return {"llama": tiny_lm, "qwen2": home}


def taught(base, *, why: bool):
    reader = Reader(tokenizer_of(base), INSTRUCTIONS)
    texts, answers, reasons = zip(*rows(6), strict=True)
    return reader.read(texts, answers, reasons if why else ()).rows


def alike(lean: Adapters, plain) -> dict[str, torch.Tensor]:
    """Put random factors into both; the plain model's, by name."""
    torch.manual_seed(1)
    named = {name: torch.randn_like(p) * 0.2 for name, p in plain._model.named_parameters() if p.requires_grad}
    for name, p in plain._model.named_parameters():
        if name in named:
            p.data = named[name].clone()
    lean.fill({name.replace(".default", ""): value for name, value in named.items()})
    return named


@pytest.mark.parametrize("build", ["llama", "qwen2"])
@pytest.mark.parametrize("why", [False, True])
@pytest.mark.parametrize("layers", [None, 1])
def test_losses_and_gradients_are_those_of_peft(bases, build, why, layers):
    some, base = taught(bases[build], why=why), bases[build]
    plain = causal_plain.adapters(base, layers, Device(), rank=3, targets=TARGETS, count=1)
    model = load(base, torch.float32)
    kept = Kept(model, 0 if layers is None else model.shape.layers - layers)
    lean = Adapters(model, kept, rank=3, targets=TARGETS, count=1)
    alike(lean, plain)
    weights = np.linspace(0.5, 1.5, len(some))
    scale = Scale.of(some)
    found = [learner.cost(some, scale, weights) for learner in (plain, lean)]
    assert found[1].item() == pytest.approx(found[0].item(), rel=1e-5)
    for cost in found:
        cost.sum().backward()
    theirs = {n.replace(".default", ""): p.grad for n, p in plain._model.named_parameters() if p.requires_grad}
    ours = torch.cat([theirs[name].flatten() for name in lean._names()])
    (leaf,) = lean.tries[0]
    assert torch.allclose(leaf.grad, ours, rtol=1e-3, atol=1e-6)
    assert leaf.grad.abs().max() > 1e-3
    judged = [learner.judge(some) for learner in (plain, lean)]
    assert np.allclose(judged[0].losses, judged[1].losses, rtol=1e-5)
    assert (judged[0].exact == judged[1].exact).all()


@pytest.mark.parametrize("build", ["llama", "qwen2"])
def test_whole_weights_get_the_gradients_of_transformers(bases, build, tmp_path):
    base = bases[build]
    some = taught(base, why=True)
    plain, model = causal_plain.whole(base, 1, Device()), load(base, torch.float32)
    lean = Whole(model, Kept(model, model.shape.layers - 1), base)
    for learner in (plain, lean):
        learner.cost(some, Scale.of(some), None).sum().backward()
    names = [n for n, p in plain._model.named_parameters() if p.requires_grad]
    down = next(n for n in names if n.endswith("down_proj.weight"))
    theirs = dict(plain._model.named_parameters())[down].grad
    assert torch.allclose(lean.tries[0][3].grad, theirs, rtol=1e-3, atol=1e-6)
    assert theirs.abs().max() > 1e-3
    with torch.no_grad():
        for leaf in lean.tries[0]:
            leaf.add_(0.01)
    lean.save(tmp_path, 0)
    again = causal_plain.whole(tmp_path / "model", None, Device())
    assert np.allclose(again.judge(some).losses, lean.judge(some).losses, rtol=1e-4)


def test_several_adapters_in_one_pass_are_each_what_they_are_alone(bases):
    some = taught(bases["llama"], why=True)
    model = load(bases["llama"], torch.float32)
    together = Adapters(model, Kept(model, 1), rank=2, targets=TARGETS, count=3)
    torch.manual_seed(2)
    with torch.no_grad():
        for (leaf,) in together.tries:
            leaf.add_(torch.randn_like(leaf) * 0.2)
    costs = together.cost(some, Scale.of(some), None)
    costs.sum().backward()
    for which in range(3):
        alone = Adapters(model, Kept(model, 1), rank=2, targets=TARGETS, count=1)
        with torch.no_grad():
            alone.tries[0][0].copy_(together.tries[which][0])
        cost = alone.cost(some, Scale.of(some), None)
        cost.sum().backward()
        assert cost.item() == pytest.approx(costs[which].item(), rel=1e-5)
        assert torch.allclose(alone.tries[0][0].grad, together.tries[which][0].grad, rtol=1e-3, atol=1e-6)


def test_a_kept_trunk_and_more_passes_change_nothing(bases):
    some = taught(bases["llama"], why=True)
    model = load(bases["llama"], torch.float32)
    kept = Kept(model, 1)
    assert kept.fill(some)
    found = []
    for trunk in (Kept(model, 1), kept):
        torch.manual_seed(3)
        learner = Adapters(model, trunk, rank=2, targets=TARGETS, count=1)
        with torch.no_grad():
            learner.tries[0][0] += 0.1
        parts = list(passes(some, 60 if trunk is kept else 10_000))
        assert len(parts) > (trunk is kept)
        for part in parts:
            learner.cost([some[p] for p in part], Scale.of(some), None).sum().backward()
        found.append(learner.tries[0][0].grad)
    assert torch.allclose(found[0], found[1], rtol=1e-3, atol=1e-6)


def test_what_rows_begin_with_stands_once_and_masks_keep_the_rest_apart(bases):
    some = taught(bases["llama"], why=True)
    given = collate(some, Scale.of(some))
    assert len(given.prefix) == common(some) > 10
    assert given.ids.shape == (len(some), max(map(len, some)) - common(some))
    row = some[0]
    stem, first = len(row.stem) - common(some), len(row.branches[0].read)
    seen = ~given.unseen[0][:, len(given.prefix) :]
    assert seen[:stem, stem:].sum() == 0
    assert seen[stem + first, :stem].all()
    assert not seen[stem + first, stem : stem + first].any()
    assert int(given.places[0, stem]) == int(given.places[0, stem + first]) == len(row.stem)
    assert given.weights.sum().item() == pytest.approx(2.0)


def test_stems_leave_each_prompt_a_token():
    assert shared([[1, 2, 3], [1, 2, 4]]) == 2
    assert shared([[1, 2, 3]]) == 2
    assert shared([[1, 2], [1, 2, 3]]) == 1


def test_only_builds_that_are_written_out_are_known(bases):
    config = json.loads((bases["llama"] / "config.json").read_text())
    assert knows(config)
    assert not knows(config | {"model_type": "gpt2"})
    assert not knows(config | {"attention_bias": True})
    assert not knows(config | {"rope_parameters": {"rope_type": "llama3", "rope_theta": 1e4}})
