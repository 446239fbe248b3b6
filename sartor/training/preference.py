"""What the recipes `dpo` and `kto` share: a tuned variant, what people made of its answers, and a trainer of trl.

The adapter of a `lora` variant goes on; it as it was is what it may not stray from. Prompts are those that the variant
was taught with. Knows no loss.
"""

import json
import shutil
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sartor.core.errors import AskError, missing_extra
from sartor.core.prompting import answer_text, chat_text
from sartor.training.causal_plain import Plain
from sartor.training.device import Device, device_for
from sartor.training.encoder import has_bfloat16, repeatable
from sartor.training.job import Draft, Job, Part, Preferences
from sartor.training.warm import anew

LEAST = 4
"""Pairs or marks below which there is nothing to learn."""
WHAT = "learning preferences"


@dataclass(frozen=True)
class Taught:
    """What a recipe adds: its name, its trainer, its rows."""

    recipe: str
    trainer: str
    """Class of trl; its settings are `Config` in the place of `Trainer`."""
    rows: Callable[[Preferences], list[dict[str, Any]]]
    """`text` and what the trainer's own columns hold, answers still as they are."""
    answers: Sequence[str]
    """Columns that hold answers."""
    settings: dict[str, Any]
    """Of the trainer, beside those that both have."""
    four_bit: bool


@dataclass(frozen=True)
class Length:
    """How long it learns."""

    epochs: int
    rows: int
    """Most pairs or marks, the newest."""
    batch: int
    rate: float


def prefer(job: Job, taught: Taught, length: Length) -> Draft:
    """Train; write `adapter/` and `writing.json`.

    Raises:
        AskError: the candidate is not made of a lora variant on the same base, or too little was said of answers.
        MissingExtraError: trl is not installed.
    """
    anew(job, taught.recipe)
    part, base = _part(job, taught.recipe), job.needs_base(taught.recipe)
    rows = _rows(job, taught)[-length.rows :]
    device = device_for(job.device, four_bit=taught.four_bit, cpu_bfloat16=has_bfloat16())
    writing = json.loads((part / "writing.json").read_text(encoding="utf-8"))
    with _quiet(), repeatable(job.seed, job.threads):
        model, tokenizer = _opened(base, part / "adapter", device)
        given = [_said(row, taught.answers, tokenizer, str(writing.get("instructions", ""))) for row in rows]
        history = _train(job, taught, length, device, (model, tokenizer, given))
        if "ref" in model.peft_config:
            model.delete_adapter("ref")
        Plain(model, base, adapter=True).save(job.folder, 0)
    shutil.copyfile(part / "writing.json", job.folder / "writing.json")
    facts = {**device.facts(), "rows": len(rows), "epochs": length.epochs, "rate": length.rate, **_told(history)}
    return Draft(engine="lm", facts=facts)


def _part(job: Job, recipe: str) -> Path:
    """Folder of the lora variant that goes on."""
    if job.writing is None:
        raise AskError(
            f"Recipe '{recipe}' is for answers that are written, and this task's are labels.", param="candidates.recipe"
        )
    found: Sequence[Part] = job.parts
    fits = len(found) == 1 and found[0].folder is not None and (found[0].folder / "adapter").is_dir()
    if not fits or (found[0].base is not None and job.base is not None and found[0].base != job.base):
        raise AskError(
            f"Recipe '{recipe}' goes on from one lora variant: make one on the same base and name it under 'of'.",
            param="candidates.of",
            code="no_lora_to_go_on_from",
        )
    assert found[0].folder is not None
    return found[0].folder


def _rows(job: Job, taught: Taught) -> list[dict[str, Any]]:
    rows = taught.rows(job.preferences()) if job.preferences is not None else []
    if len(rows) < LEAST:
        raise AskError(
            f"Recipe '{taught.recipe}' learns from what people made of answers, and there are {len(rows)} rows of "
            f"that, where {LEAST} are the least. Harvest feedback (demonstrations, correct or not), or give rows a "
            "column 'answered' beside the right answer.",
            param="candidates.recipe",
            code="no_preferences",
        )
    return rows


def _opened(base: Path, adapter: Path, device: Device) -> tuple[Any, Any]:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    plain = AutoModelForCausalLM.from_pretrained(base, local_files_only=True, **device.load_settings())
    model = PeftModel.from_pretrained(plain, str(adapter), is_trainable=True)
    for weight in model.parameters():
        if weight.requires_grad:
            weight.data = weight.data.float()
    return model, AutoTokenizer.from_pretrained(base, local_files_only=True)


def _said(row: dict[str, Any], answers: Sequence[str], tokenizer: Any, instructions: str) -> dict[str, Any]:
    """A row as the trainer takes it: the prompt and the answers as the model reads and writes them."""
    rest = {name: answer_text(tokenizer, v) if name in answers else v for name, v in row.items() if name != "text"}
    return {"prompt": chat_text(tokenizer, instructions, row["text"]), **rest}


def _train(
    job: Job, taught: Taught, length: Length, device: Device, given: tuple[Any, Any, list[dict[str, Any]]]
) -> list[dict[str, Any]]:
    try:
        import trl
        from datasets import Dataset, disable_progress_bars
    except ModuleNotFoundError as error:
        raise missing_extra(error.name or "trl", f"recipe '{taught.recipe}'") from error
    from transformers import PrinterCallback

    model, tokenizer, rows = given
    disable_progress_bars()
    scratch = job.folder / "scratch"
    config = getattr(trl, taught.trainer.replace("Trainer", "Config"))(
        output_dir=str(scratch),
        num_train_epochs=length.epochs,
        per_device_train_batch_size=min(length.batch, len(rows)),
        learning_rate=length.rate,
        lr_scheduler_type="linear",
        max_length=_longest(model),
        logging_steps=1,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
        seed=job.seed,
        **device.trainer_settings(),
        **taught.settings,
    )
    trainer = getattr(trl, taught.trainer)(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        processing_class=tokenizer,
        callbacks=[_watcher(job)],
    )
    trainer.remove_callback(PrinterCallback)  # it prints where our answers go
    trainer.train()
    shutil.rmtree(scratch, ignore_errors=True)
    found: list[dict[str, Any]] = trainer.state.log_history
    return found


def _longest(model: Any) -> int | None:
    found = getattr(model.config, "max_position_embeddings", None)
    return int(found) if found else None


def _watcher(job: Job) -> Any:
    """Tells how far it is; by it a job is stopped."""
    from transformers import TrainerCallback

    class Watcher(TrainerCallback):
        def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:  # noqa: ARG002
            job.progress(WHAT, state.global_step, state.max_steps)

    return Watcher()


def _told(history: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The first and the last loss, and how often the better answer was ahead at the end."""
    losses = [float(one["loss"]) for one in history if "loss" in one]
    ahead = [float(one["rewards/accuracies"]) for one in history if "rewards/accuracies" in one]
    found: dict[str, Any] = {"loss": [round(losses[0], 4), round(losses[-1], 4)]} if losses else {}
    return found | ({"ahead": round(sum(ahead[-3:]) / len(ahead[-3:]), 4)} if ahead else {})


@contextmanager
def _quiet() -> Any:
    """Libraries that say much: their warnings are for whoever writes trainers."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield
