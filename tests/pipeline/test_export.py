"""Leaving: every export answers as the variant does, in a Python that has no Sartor, and trains again there."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from leaving_house import choosing, extracting, orders, texts, write_encoder, write_rows, write_static, write_tokenizer
from tokenizers import Tokenizer

from benchmarks._leaving import Outside, borrowed, held, inside
from benchmarks._tiny_lm import write_tiny_lm
from sartor.core.errors import AskError, ConflictError, NotFoundError, RefusedError
from sartor.core.records import Run, Variant
from sartor.core.task import Task
from sartor.hub.safety import shapes_in
from sartor.pipeline.bring import bring
from sartor.pipeline.export import export
from sartor.pipeline.recall_plan import plan
from sartor.pipeline.run import make_all, open_hall
from sartor.pipeline.workshop import Workshop
from sartor.registry.variants import register
from sartor.store.opening import open_store

pytest.importorskip("torch")
TOLERANCE = 1e-5
ASKED = ["", "ünïcode ½", "where is my card , please", "the transfer was sent today \n not", *dict(texts(30, 9))]


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Outside:
    return borrowed(tmp_path_factory.mktemp("outside") / "python")


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workshop]:
    folder = tmp_path_factory.mktemp("leaving")
    write_encoder(folder / "encoder")
    write_static(folder / "static")
    write_tiny_lm(folder / "lm")
    write_rows(folder / "texts.jsonl", texts(240, 1))
    write_rows(folder / "orders.jsonl", orders(160, 1))
    store = open_store(folder / "home")
    opened = Workshop(store=store, key=folder / "key", cache=folder / "cache", who="tester")
    for task in (choosing(folder), extracting(folder)):
        make(opened, task, folder)
    yield opened
    store.close()


def make(shop: Workshop, task: Task, folder: Path) -> None:
    for variant in make_all(open_hall(shop, task, folder), task.candidates).values():
        register(shop.store.ledger, variant)


def variant(shop: Workshop, title: str) -> Variant:
    return shop.store.ledger.find(Variant, title=title, limit=1)[0]


def test_the_python_outside_has_no_sartor(outside: Outside) -> None:
    assert outside.has_no_sartor()


FORMS = [
    ("linear", "folder"),
    ("static", "folder"),
    ("static", "onnx"),
    ("head", "hf"),
    ("tune", "folder"),
    ("tune", "onnx"),
    ("adapter", "folder"),
    ("adapter", "hf"),
    ("adapter", "peft"),
    ("blend", "folder"),
    ("linear", "mlflow"),
]


@pytest.fixture(scope="module")
def exported(shop: Workshop, tmp_path_factory: pytest.TempPathFactory) -> dict[tuple[str, str], Path]:
    folder = tmp_path_factory.mktemp("exports")
    found = {(title, target): folder / f"{title}-{target}" for title, target in FORMS}
    for (title, target), out in found.items():
        export(shop, variant(shop, title).digest, target, out, {"base": True} if target == "peft" else {})
    return found


def test_exports_answer_as_the_variants_do(
    shop: Workshop, outside: Outside, exported: dict[tuple[str, str], Path]
) -> None:
    here = {title: inside(shop, variant(shop, title), ASKED) for title in {title for title, _ in FORMS}}
    there = outside.every(list(exported.values()), ASKED)

    for (title, target), answers in zip(exported, there, strict=True):
        found = held(here[title], answers)
        assert found.same == len(ASKED), (title, target)
        assert found.furthest < TOLERANCE, (title, target)


def test_the_script_answers_lines_texts_and_columns(outside: Outside, exported: dict[tuple[str, str], Path]) -> None:
    script = exported["linear", "folder"] / "predict.py"
    by_lines = outside.answers(script.parent, ASKED[:3])
    by_words = [json.loads(line) for line in outside.run(script, *ASKED[1:3]).splitlines()]
    by_columns = json.loads(outside.run(script, "--columns", json.dumps({"text": ASKED[2]})))

    assert by_words == by_lines[1:]
    assert by_columns == by_words[1]


WRITTEN = [
    ("tagger", "folder", {}),
    ("lora", "folder", {}),
    ("lora", "hf", {}),
    ("lora", "peft", {}),
    ("full", "hf", {}),
    ("lora", "gguf", {"level": "f32"}),
]


def test_what_writes_writes_the_same_outside(shop: Workshop, outside: Outside, tmp_path: Path) -> None:
    asked = [text for text, _ in orders(8, 7)] + ["", "pen ½ alder"]
    folders = [tmp_path / f"{title}-{target}" for title, target, _ in WRITTEN]
    notes = {}
    for (title, target, params), out in zip(WRITTEN, folders, strict=True):
        notes[title, target] = " ".join(export(shop, variant(shop, title).digest, target, out, params).notes)
    assert "vllm serve . --host 127.0.0.1" in notes["full", "hf"]
    assert "vllm serve base --host 127.0.0.1" in notes["lora", "peft"]
    assert "--enable-lora --max-lora-rank 8 --lora-modules orders=." in notes["lora", "peft"]

    every = outside.every(folders, asked)

    for (title, target, _), there in zip(WRITTEN, every, strict=True):
        here = inside(shop, variant(shop, title), asked)
        same = sum(
            a["label"] == b["output"] and a["escalate"] == b["escalate"] for a, b in zip(here, there, strict=True)
        )
        far = max(abs(a["confidence"] - b["confidence"]) for a, b in zip(here, there, strict=True))
        # A tiny model of random weights sits near a tie at every token: what is merged or laid out anew may flip one.
        assert same >= len(asked) - 1, (title, target)
        assert far < TOLERANCE or target in ("hf", "gguf"), (title, target, far)
        assert all(isinstance(one["answer"], dict) for one in there)


def test_a_recall_names_the_folders_that_left(shop: Workshop, exported: dict[tuple[str, str], Path]) -> None:
    named = plan(shop, "variant", variant(shop, "head").digest).body()["caches"]["exports"]

    assert str(exported["head", "hf"]) in named
    assert str(exported["linear", "folder"]) not in named


def test_the_exported_recipe_trains_the_same_again(shop: Workshop, outside: Outside, tmp_path: Path) -> None:
    made = variant(shop, "linear")
    export(shop, made.digest, "folder", tmp_path / "out", rows=True)

    said = outside.run(tmp_path / "out" / "train.py", "--out", str(tmp_path / "again"))

    assert said.count("the rows that it was made of") == 2
    before, after = (tmp_path / name / "model" / "linear.safetensors" for name in ("out", "again"))
    assert before.read_bytes() == after.read_bytes()
    assert outside.answers(tmp_path / "again", ASKED[:2])[0]["label"] in made.labels


def test_the_papers_say_what_it_is(shop: Workshop, exported: dict[tuple[str, str], Path]) -> None:
    made, out = variant(shop, "adapter"), exported["adapter", "peft"]
    card = (out / "README.md").read_text(encoding="utf-8")
    recipe = json.loads((out / "recipe.json").read_text(encoding="utf-8"))

    assert all(
        f"\n## {title}\n" in card for title in ("Use", "What mistakes cost", "Data", "Made of", "Licence", "Limits")
    )
    assert made.digest in card
    assert "owned" in card
    assert recipe["data"]["splits"]["test"]["rows"] > 0
    assert all(len(split["sha256"]) == 64 for split in recipe["data"]["splits"].values())
    assert recipe["base"]["digest"] == made.parents["base"]
    assert not (out / "rows").exists(), "rows leave only when they are asked for"
    assert "==" in (out / "requirements.txt").read_text()
    assert shop.store.ledger.find(Run, verb="export", limit=100)


def test_an_export_over_another_base_refuses_and_names_both(
    outside: Outside, exported: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    shutil.copytree(exported["adapter", "peft"], tmp_path / "out")
    shutil.copyfile(
        exported["tune", "folder"] / "model" / "encoder" / "model.safetensors",
        tmp_path / "out" / "base" / "model.safetensors",
    )
    with pytest.raises(RuntimeError, match=r"was trained on 'folder:.*' \(model.safetensors .*holds another base"):
        outside.answers(tmp_path / "out", ASKED[:1])


@pytest.mark.parametrize(
    ("title", "target", "error", "says"),
    [
        ("linear", "hf", AskError, "linear models are no transformers. Export it to 'folder'"),
        ("tune", "peft", AskError, "makes no adapter"),
        ("tune", "gguf", AskError, "no language models"),
        ("linear", "hff", NotFoundError, "Did you mean 'hf'"),
    ],
)
def test_what_has_no_such_form_is_refused(
    shop: Workshop, tmp_path: Path, title: str, target: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        export(shop, variant(shop, title).digest, target, tmp_path / "out")
    assert not list(tmp_path.iterdir()), "nothing half-written is left"


def test_what_stands_there_is_not_written_over(shop: Workshop, tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    with pytest.raises(ConflictError, match="not empty"):
        export(shop, variant(shop, "linear").digest, "folder", tmp_path)


@pytest.mark.parametrize(
    ("title", "target"), [("linear", "folder"), ("tune", "folder"), ("tune", "onnx"), ("linear", "mlflow")]
)
def test_an_export_comes_back_and_answers_alike(
    shop: Workshop, exported: dict[tuple[str, str], Path], title: str, target: str
) -> None:
    brought = bring(shop, exported[title, target], f"back-{title}-{target}", task="desk", licence="owned")

    assert brought.variant is not None
    assert brought.version.startswith("desk@v")
    assert brought.reports is not None
    assert brought.reports["test"].metrics["accuracy"].n > 0
    before, after = inside(shop, variant(shop, title), ASKED), inside(shop, brought.variant, ASKED)
    assert sum(a["label"] == b["label"] for a, b in zip(before, after, strict=True)) >= len(ASKED) - 1


def test_a_strangers_classifier_becomes_a_variant(shop: Workshop, tmp_path: Path) -> None:
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    names = {0: "other", 1: "Card!", 2: "money"}
    torch.manual_seed(3)
    config = BertConfig(
        vocab_size=60, hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=32, id2label=names
    )
    stranger = BertForSequenceClassification(config).eval()
    stranger.save_pretrained(tmp_path / "theirs")
    write_tokenizer(tmp_path / "theirs")
    (tmp_path / "theirs" / "training_args.bin").write_bytes(b"\x80\x04N.")

    with pytest.raises(AskError, match=r"labels card are not among them.*theirs: ours"):
        bring(shop, tmp_path / "theirs", "theirs", task="desk", licence="owned")
    with pytest.raises(ConflictError, match="another --name"):
        bring(shop, tmp_path / "theirs", "theirs", licence="MIT")
    (tmp_path / "theirs" / "labels.json").write_text(json.dumps(["other", "card", "money"]))
    brought = bring(shop, tmp_path / "theirs", "theirs2", task="desk", licence="owned")

    assert brought.left == ("training_args.bin",)
    assert brought.variant is not None
    tokens = Tokenizer.from_file(str(tmp_path / "theirs" / "tokenizer.json")).encode(ASKED[2])
    with torch.no_grad():
        logits = stranger(torch.tensor([tokens.ids])).logits[0]
    (answered,) = inside(shop, brought.variant, [ASKED[2]])
    ranked = sorted(answered["scores"], key=answered["scores"].__getitem__)
    assert ranked == [["other", "card", "money"][place] for place in logits.argsort().tolist()]


def test_an_adapter_is_merged_into_its_own_base_and_no_other(shop: Workshop, tmp_path: Path) -> None:
    export(shop, variant(shop, "lora").digest, "peft", tmp_path / "adapter")
    tiny = variant(shop, "lora").base
    (tmp_path / "adapter" / "predict.json").unlink()  # as a stranger's would be

    with pytest.raises(AskError, match="--base NAME"):
        bring(shop, tmp_path / "adapter", "theirs-lora")
    with pytest.raises(RefusedError, match=r"was trained on 'base', and the base that is named is 'folder:.*encoder'"):
        bring(shop, tmp_path / "adapter", "theirs-lora", base=variant(shop, "tune").base)
    brought = bring(shop, tmp_path / "adapter", "theirs-lora", base=tiny, licence="owned", task="orders")

    assert brought.base.engine == "lm"
    assert brought.variant is not None
    assert inside(shop, brought.variant, ["pen . the elm"])[0]["label"]


def overlapping(folder: Path) -> str:
    header = {name: {"dtype": "F32", "shape": [2], "data_offsets": at} for name, at in (("a", [0, 8]), ("b", [4, 12]))}
    return damaged(folder, header, 12, "overlap or leave a hole")


def beyond_the_end(folder: Path) -> str:
    return damaged(
        folder, {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}, 8, "8 bytes of data, 16 described"
    )


def damaged(folder: Path, header: dict[str, object], size: int, says: str) -> str:
    (folder / "config.json").write_text("{}")
    raw = json.dumps(header).encode()
    (folder / "model.safetensors").write_bytes(len(raw).to_bytes(8, "little") + raw + bytes(size))
    return says


def pickled(folder: Path) -> str:
    (folder / "config.json").write_text('{"architectures": ["BertModel"]}')
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04N.")
    return "pickled weights such as pytorch_model.bin are never read"


def code_inside(folder: Path) -> str:
    damaged(folder, {"a": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]}}, 4, "")
    (folder / "config.json").write_text('{"auto_map": {"AutoModel": "evil.Model"}}')
    return r"names code to be run \(auto_map\)"


def mlflow_of_code(folder: Path) -> str:
    (folder / "MLmodel").write_text("flavors: {python_function: {loader_module: evil, python_model: python_model.pkl}}")
    (folder / "python_model.pkl").write_bytes(b"\x80\x04N.")
    return "only onnx and transformers hold weights .*pickles .*python_model.pkl"


def mlflow_elsewhere(folder: Path) -> str:
    (folder / "MLmodel").write_text("flavors: {onnx: {data: ../../secret.onnx}}")
    return "points outside of its folder"


def graph_of_code(folder: Path) -> str:
    from onnx import helper, save_model

    graph = helper.make_graph([], "g", [], [])
    save_model(helper.make_model(graph, opset_imports=[helper.make_opsetid("evil.ops", 1)]), str(folder / "m.onnx"))
    return "operators of evil.ops, which would have to be loaded as code"


def gguf_of_the_future(folder: Path) -> str:
    from gguf import GGUFWriter

    writer = GGUFWriter(folder / "m.gguf", "nextgen")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return "of the architecture 'nextgen', which llama.cpp as it is installed here"


def nothing_there(folder: Path) -> str:
    (folder / "notes.txt").write_text("hello")
    return "holds no model that can be used"


BAD = [
    overlapping,
    beyond_the_end,
    pickled,
    code_inside,
    mlflow_of_code,
    mlflow_elsewhere,
    graph_of_code,
    gguf_of_the_future,
    nothing_there,
]


@pytest.mark.parametrize("make_bad", BAD, ids=lambda bad: bad.__name__)
def test_what_must_not_come_in_is_refused(shop: Workshop, tmp_path: Path, make_bad: Callable[[Path], str]) -> None:
    says = make_bad(tmp_path)
    with pytest.raises((RefusedError, AskError), match=says):
        bring(shop, tmp_path, "bad")


def test_mlflow_opens_its_model_without_a_pickle(
    outside: Outside, exported: dict[tuple[str, str], Path], tmp_path: Path
) -> None:
    pytest.importorskip("mlflow")
    out = exported["linear", "mlflow"]
    script = tmp_path / "ask.py"
    script.write_text(
        "import json, sys, mlflow.pyfunc, pandas\n"
        f"found = mlflow.pyfunc.load_model({str(out)!r}).predict(pandas.DataFrame({{'text': sys.argv[1:]}}))\n"
        "print(json.dumps(found))\n"
    )
    assert json.loads(outside.run(script, *ASKED[2:4])) == outside.answers(out, ASKED[2:4])
    assert not [file for file in out.rglob("*") if file.suffix in (".pkl", ".pickle", ".bin")]


def test_heads_and_adapters_train_again_too(shop: Workshop, outside: Outside, tmp_path: Path) -> None:
    for title in ("static", "lora"):
        export(shop, variant(shop, title).digest, "folder", tmp_path / title, rows=True)
        outside.run(tmp_path / title / "train.py", "--out", str(tmp_path / f"{title}-again"))

    before, after = (outside.answers(tmp_path / name, ASKED) for name in ("static", "static-again"))
    # Our own solver stops a little before the optimum, so that texts between two labels may fall to either.
    assert sum(a["label"] == b["label"] for a, b in zip(before, after, strict=True)) >= 0.8 * len(ASKED)
    weights = [tmp_path / name / "model" / "adapter" / "adapter_model.safetensors" for name in ("lora", "lora-again")]
    assert shapes_in(weights[0]) == shapes_in(weights[1])
    assert weights[0].read_bytes() != weights[1].read_bytes()
