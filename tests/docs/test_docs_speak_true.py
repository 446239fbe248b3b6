"""What the documentation says can be typed: commands, options, settings, task files, links, imports, headers."""

import re
from pathlib import Path

import pytest
from typer.main import get_command

import sartor
from sartor.core.errors import SartorError
from sartor.core.task import Gate
from sartor.gateway import app as gateway
from sartor.gateway.policy import POLICIES
from sartor.interfaces.cli.main import app
from sartor.interfaces.settings import VARIABLES
from sartor.pipeline.campaign_plan import valid
from sartor.pipeline.check import check_plugins
from sartor.pipeline.gateway_file import parse_gateway, read_target
from sartor.pipeline.task_file import load_yaml, parse_task

ROOT = Path(__file__).parents[2]
PAGES = sorted([*ROOT.glob("docs/**/*.md"), ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", ROOT / "README.md"])
PAGES = [p for p in PAGES if "reference" not in p.parts]
TEXT = {p.relative_to(ROOT).as_posix(): p.read_text(encoding="utf-8") for p in PAGES}
COMMANDS = [
    (page, line.split("#")[0].strip())
    for page, text in TEXT.items()
    for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL)
    for line in block.splitlines()
    if line.startswith("sartor ")
]
SPOKEN = sorted({
    (page, " ".join(found.split()))
    for page, text in TEXT.items()
    for found in re.findall(r"`(sartor\s[a-z][^`]*)`", text)
})  # fmt: skip


def blocks(language: str) -> list[tuple[str, str]]:
    return [(p, b) for p, text in TEXT.items() for b in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL)]


def test_there_is_something_to_check():
    assert len(TEXT) >= 20
    assert len(COMMANDS) >= 15
    assert len(SPOKEN) >= 10
    assert len(blocks("yaml")) >= 3
    assert len(blocks("python")) >= 3


@pytest.mark.parametrize(("page", "line"), [*COMMANDS, *SPOKEN])
def test_commands_and_options_exist(page, line):
    command, words = get_command(app), line.split()[1:]
    known = {o for p in command.params for o in (*p.opts, *p.secondary_opts)}
    while words:
        word = words.pop(0)
        if word.startswith("-"):
            assert word in known | {"--json", "-h", "--help"}, f"{page}: {line}"
        elif hasattr(command, "commands"):
            if word not in command.commands and known:
                continue  # the value of an option before the command
            command = command.commands[word]
            known |= {o for p in command.params for o in (*p.opts, *p.secondary_opts)}


@pytest.mark.parametrize(("page", "block"), blocks("yaml"))
def test_yaml_is_what_sartor_reads(page, block):
    if block.startswith("{use:"):
        for line in block.splitlines():
            policy = dict(read_target(line))
            plugin = POLICIES.take(policy.pop("use"))
            assert plugin.read(policy)
        return
    if re.search(r"^(upstreams|routes):", block, re.MULTILINE):
        assert parse_gateway(load_yaml(block, page), page) != parse_gateway({}, page)
        return
    if re.search(r"^tasks:", block, re.MULTILINE):
        assert valid(load_yaml(block, page), page).tasks
        return
    needed = {"name": "name: t", "data": "data: {sources: [{use: csv, path: a.csv}]}"}
    # Pieces of a task belong to the one that their page begins with.
    first = re.search(r"```yaml\n(.*?)```", TEXT[page], re.DOTALL)[1]
    kind = re.search(r"^kind: (\w+)", block, re.MULTILINE) or re.search(r"^kind: (\w+)", first, re.MULTILINE)
    if kind and kind[1] != "classify":
        needed |= {"kind": kind[0], "candidates": "candidates: [{recipe: rules}]"}
    added = [line for key, line in needed.items() if not re.search(rf"^{key}:", block, re.MULTILINE)]
    task = parse_task("\n".join([*added, block]), page)
    check_plugins(task)


@pytest.mark.parametrize(("page", "text"), TEXT.items(), ids=list(TEXT))
def test_links_lead_somewhere(page, text):
    for target in re.findall(r"\]\(([^)#]+)?(?:#[^)]*)?\)", text):
        if target and not target.startswith("http") and "reference" not in target:
            assert (ROOT / page).parent.joinpath(target).exists(), f"{page} links to {target}"


def test_anchors_lead_somewhere():
    for page, text in TEXT.items():
        for target, anchor in re.findall(r"\]\(([^)#]*)#([^)]+)\)", text):
            other = (ROOT / page).parent.joinpath(target).resolve() if target else ROOT / page
            heads = re.findall(r"^#+ (.+)$", other.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {h.lower().replace(" ", "-") for h in heads}, f"{page} links to #{anchor}"


@pytest.mark.parametrize(("page", "block"), blocks("python"))
def test_python_compiles_and_imports_what_is_there(page, block):
    compile(block, page, "exec")
    for names in re.findall(r"from sartor import (.+)", block):
        assert {n.strip() for n in names.split(",")} <= set(sartor.__all__)


def test_every_setting_is_in_the_guide():
    said = set(re.findall(r"SARTOR_[A-Z0-9_]+", TEXT["docs/guide/platform-engineer.md"]))
    assert said == set(VARIABLES)


def test_the_guides_headers_and_statuses_are_those_of_the_server():
    guide = TEXT["docs/guide/application-developer.md"]
    sources = [path.read_text(encoding="utf-8") for path in Path(gateway.__file__).parent.glob("*.py")]
    written = set(re.findall(r"x-sartor-[a-z]+", "".join(sources)))
    assert set(re.findall(r"x-sartor-[a-z]+", guide)) == written


def test_exit_codes_in_the_guide_are_those_of_the_errors():
    def family(kind: type[SartorError]) -> set[int]:
        return {kind.exit_code} | {code for sub in kind.__subclasses__() for code in family(sub)}

    table = TEXT["docs/guide/platform-engineer.md"].split("## Exit codes")[1].split("##")[0]
    assert {int(code) for code in re.findall(r"^\| (\d+) \|", table, re.MULTILINE)} == family(SartorError) | {0}


def test_every_key_of_the_gate_is_explained_with_its_default():
    table = TEXT["docs/task-yaml.md"].split("## gate")[1].split("\n## ")[0]
    keys = set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))
    assert keys | {"floor"} == set(Gate.model_fields)


def test_contributing_is_short():
    assert len(TEXT["CONTRIBUTING.md"].splitlines()) < 80
