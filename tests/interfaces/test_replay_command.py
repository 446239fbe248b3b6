"""`sartor gateway replay` as a process: it says where it answers, answers, and ends well when told to."""

import json
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path


def test_replay_answers_until_it_is_told_to_stop(tmp_path: Path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text(json.dumps({"text": "my card", "gpt4": "card_arrival"}) + "\n")
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "--json", "gateway", "replay", str(rows)]
    command += ["--answer", "gpt4", "--model", "gpt-4", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        told = json.loads(process.stdout.readline())
        assert (told["models"], told["texts"]) == (["gpt-4"], 1)
        body = {"model": "gpt-4", "messages": [{"role": "user", "content": "Label this: my card"}]}
        asked = urllib.request.Request(f"{told['url']}/chat/completions", json.dumps(body).encode())
        with urllib.request.urlopen(asked, timeout=20) as reply:
            assert json.load(reply)["choices"][0]["message"]["content"] == "card_arrival"
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) == 0
