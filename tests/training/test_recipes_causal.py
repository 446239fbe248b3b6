"""Recipes that teach a language model to write: they learn, go on in the same bytes, and their files are PEFT's."""

import json
import logging
from dataclasses import replace

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="the extra 'train' is not installed")
pytest.importorskip("peft", reason="the extra 'train' is not installed")

from causal_house import INSTRUCTIONS, job_on, make, rows  # noqa: E402
from test_recipes_encoder import bytes_of  # noqa: E402
from test_training_goes_on import Cut, Drawer  # noqa: E402

from sartor.core.errors import AskError  # noqa: E402
from sartor.core.prompting import answer_text, chat_text  # noqa: E402
from sartor.training.causal import tokenizer_of  # noqa: E402
from sartor.training.causal_rows import Reader  # noqa: E402

FAST = {"batch": 4, "epochs": 3}
STEPS = 3 * 3


def opened(base, folder, *, how: str):
    """The files that a recipe wrote, opened by transformers and peft alone."""
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    if how == "lora":
        return PeftModel.from_pretrained(AutoModelForCausalLM.from_pretrained(base), folder / "adapter")
    return AutoModelForCausalLM.from_pretrained(folder / "model", dtype=torch.float32)


def losses(base, folder, *, how: str) -> np.ndarray:
    """(rows,) mean loss of each answer under these files."""
    model, tokenizer = opened(base, folder, how=how), tokenizer_of(base)
    found = []
    for text, answer, _ in rows(12):
        asked = tokenizer.encode(chat_text(tokenizer, INSTRUCTIONS, text), add_special_tokens=False)
        said = tokenizer.encode(answer_text(tokenizer, answer), add_special_tokens=False)
        with torch.no_grad():
            logs = model(torch.tensor([asked + said])).logits[0].log_softmax(-1)
        found.append(-np.mean([float(logs[len(asked) - 1 + k, token]) for k, token in enumerate(said)]))
    return np.array(found)


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize(("recipe", "rate"), [("lora", {"rates": [2e-2]}), ("full", {"rate": 2e-3})])
@pytest.mark.parametrize("loop", ["lean", "plain"])
def test_learns_and_transformers_reads_what_it_wrote(tiny_lm, tmp_path, recipe, rate, loop):
    job = job_on(tiny_lm, tmp_path / "a", why=True)
    draft = make(recipe, job, epochs=12, batch=4, loop=loop, **rate)
    history = [epoch[0]["loss"] for epoch in draft.facts["validation"]]
    assert draft.engine == "lm"
    assert draft.facts["loop"] == loop
    assert draft.facts["rationales"] == 12
    assert history[-1] < 0.7 * history[0]
    best = max(draft.facts["validation"], key=lambda epoch: (epoch[0]["exact"], -epoch[0]["loss"]))[0]["loss"]
    assert losses(tiny_lm, job.folder, how=recipe).mean() == pytest.approx(best, rel=0.05)
    told = json.loads((job.folder / "writing.json").read_text())
    assert told["instructions"] == INSTRUCTIONS
    assert told["max_tokens"] == 256
    for file in job.folder.rglob("*.json"):
        assert str(tiny_lm.parent) not in file.read_text()


@pytest.mark.parametrize(("recipe", "how"), [("lora", {"rates": [1e-2, 1e-3], "layers": 1}), ("full", {})])
def test_goes_on_in_the_same_bytes(tiny_lm, tmp_path, recipe, how):
    draft = make(recipe, job_on(tiny_lm, tmp_path / "alone", why=True, seed=3), **FAST, **how)
    for step in (1, 3, 4, STEPS):
        drawer = Drawer()

        def cut(what, done, total, step=step):
            if what == "training the language model" and done == step:
                raise Cut

        with pytest.raises(Cut):
            make(
                recipe,
                job_on(tiny_lm, tmp_path / "cut", why=True, seed=3, checkpoints=drawer, progress=cut),
                **FAST,
                **how,
            )
        torch.manual_seed(step)
        on = job_on(tiny_lm, tmp_path / f"on{step}", why=True, seed=3, checkpoints=drawer)
        again = make(recipe, on, **FAST, **how)
        assert bytes_of(on.folder) == bytes_of(tmp_path / "alone")
        assert again.facts == draft.facts
        assert again.measured.get("resumed_after_steps", 0) == step - 1


def test_the_best_of_several_rates_is_kept(tiny_lm, tmp_path):
    job = job_on(tiny_lm, tmp_path / "a")
    draft = make("lora", job, epochs=6, batch=4, rates=[1e-5, 2e-2])
    assert draft.facts["rate"] == 2e-2
    alone = make("lora", job_on(tiny_lm, tmp_path / "b"), epochs=6, batch=4, rates=[2e-2])
    for together, one in zip(draft.facts["validation"], alone.facts["validation"], strict=True):
        assert together[1]["loss"] == pytest.approx(one[0]["loss"], abs=0.02)


def test_long_rows_are_counted_and_dropped_cut_or_refused(tiny_lm, tmp_path, caplog):
    job = job_on(tiny_lm, tmp_path / "a")
    tokenizer = tokenizer_of(tiny_lm)
    texts, answers, _ = zip(*rows(12), strict=True)
    whole = Reader(tokenizer, INSTRUCTIONS).read(texts, answers)
    assert not whole.facts
    limit = sorted(len(row) for row in whole.rows)[6] + 1
    over = [place for place, row in enumerate(whole.rows) if len(row) + 1 > limit]
    with caplog.at_level(logging.WARNING, logger="sartor.training"):
        draft = make("lora", job, epochs=1, max_row=limit)
    facts = draft.facts["too_long"]
    assert facts["dropped"] == len(over) > 0
    assert facts["first_rows"] == [place + 1 for place in over][:5]
    assert facts["longest"] == max(len(row) for row in whole.rows) + 1
    assert "rows are longer than" in caplog.text
    cut = Reader(tokenizer, INSTRUCTIONS, limit, "cut").read(texts, answers)
    assert cut.facts["cut"] == len(over)
    assert len(cut.rows) == 12
    assert max(len(row) for row in cut.rows) < limit
    tail = tokenizer.encode("<|im_start|>assistant\n", add_special_tokens=False)
    for row in cut.rows:
        (branch,) = row.branches
        assert (row.stem + branch.prompt)[-len(tail) :] == tail
    with pytest.raises(AskError, match=f"row {over[0] + 1} of 12 has"):
        Reader(tokenizer, INSTRUCTIONS, limit, "stop").read(texts, answers)
    with pytest.raises(AskError, match="each of the 12 rows has more"):
        Reader(tokenizer, INSTRUCTIONS, 16).read(texts, answers)


def test_refusals_say_what_to_do(tiny_lm, tmp_path):
    job = job_on(tiny_lm, tmp_path / "a")
    with pytest.raises(AskError, match="its linear layers are down_proj"):
        make("lora", job, targets=["query"])
    with pytest.raises(AskError, match="512 at most"):
        make("lora", job, max_row=1000)
    with pytest.raises(AskError, match="lean loop"):
        make("lora", job, rates=[1e-3, 1e-2], loop="plain")
    if not torch.cuda.is_available():
        with pytest.raises(AskError, match="no such GPU here"):
            make("lora", replace(job, device="cuda"))
    with pytest.raises(AskError, match="on a GPU"):
        make("lora", job, four_bit=True)
    with pytest.raises(AskError, match="answers are labels"):
        make("lora", replace(job, writing=None))


@pytest.mark.filterwarnings("ignore:.*is_gradient_checkpointing:FutureWarning")
@pytest.mark.parametrize(
    ("recipe", "how"),
    [
        ("lora", {"rates": [2e-2]}),
        ("lora", {"rates": [3e-2], "layers": 1, "targets": ["q_proj", "k_proj", "up_proj"]}),
        ("full", {"rate": 1e-2}),
    ],
)
def test_the_engine_that_serves_writes_what_transformers_would(tiny_lm, tmp_path, recipe, how):
    from sartor.serving.engine import ENGINES

    shelf = ENGINES.take("lm")
    engine = shelf(tiny_lm, shelf.read({"dtype": "float32"}))
    tokenizer, texts = tokenizer_of(tiny_lm), [text for text, _, _ in rows(6)]
    theirs = []
    for name, answer in {"one": "17 apples", "other": "145 bolts"}.items():
        job = job_on(tiny_lm, tmp_path / name, count=6)
        writing = replace(job.writing, train=[answer] * 6, validation=[answer] * 6, max_tokens=8)
        draft = make(recipe, replace(job, writing=writing), epochs=8, batch=3, **how)
        assert draft.engine == "lm"
        engine.add(name, job.folder)
        model = opened(tiny_lm, job.folder, how=recipe)
        for text in texts:
            asked = tokenizer.encode(chat_text(tokenizer, INSTRUCTIONS, text), add_special_tokens=False)
            said = model.generate(input_ids=torch.tensor([asked]), max_new_tokens=8, do_sample=False)[0]
            theirs.append(tokenizer.decode(said[len(asked) :], skip_special_tokens=True))
    ours = engine.write([(name, text) for name in ("one", "other") for text in texts])
    cut = " \ufffd"  # half a character, where the writing was cut
    assert [one.output.strip(cut) for one in ours] == [one.strip(cut) for one in theirs]
    assert len(set(theirs)) > 1
