"""What is released answers over HTTP to the official client, from Python, and in another process."""

import os
import re
import signal
import subprocess
import sys
import time

import pytest

from sartor import Home
from sartor.pipeline import stock
from sartor.pipeline.run import run


@pytest.fixture
def home(shop, desk, rows_folder):
    run(shop, desk, rows_folder)
    return shop


@pytest.fixture
def server(home):
    environment = os.environ | {"SARTOR_HOME": str(home.store.root), "SARTOR_KEY": str(home.key)}
    command = [sys.executable, "-m", "sartor.interfaces.cli.main", "serve", "--port", "0"]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)
    line = process.stdout.readline()
    yield re.search(r"http://\S+", line)[0]
    process.terminate()
    assert process.wait(timeout=20) in (0, -signal.SIGTERM)
    process.stdout.close()


def test_official_client_streams_and_not_and_a_rollback_counts_from_the_next_request(server, home, desk, rows_folder):
    import openai

    with openai.OpenAI(base_url=server, api_key="none", max_retries=0) as client:
        asked = {"model": "desk", "messages": [{"role": "user", "content": "my card did not arrive today"}]}
        raw = client.chat.completions.with_raw_response.create(**asked)
        assert raw.parse().choices[0].message.content == "card"
        assert raw.headers["x-sartor-variant"] == stock.show(home, "desk")["digest"]
        assert raw.parse().model == "desk@v1"
        pieces = [
            c.choices[0].delta.content or "" for c in client.chat.completions.create(**asked, stream=True) if c.choices
        ]
        assert "".join(pieces) == "card"
        assert {m.id for m in client.models.list()} == {"desk", "desk@live", "desk@v1"}
        stock.retire(home, "desk", "test")
        with pytest.raises(openai.PermissionDeniedError, match="retired"):  # noqa: PT012 - repeated until it counts
            for _ in range(200):  # within a second, or what a busy machine makes of it
                client.chat.completions.create(**asked)
                time.sleep(0.1)


def test_python_gives_the_same_answers(home):
    model = Home(home.store.root).model("desk@v1")
    (answer,) = model.answer(["my card did not arrive today"])
    assert answer.output == "card"
    assert answer.served_by == model.version
    assert model.answer([{"text": "my card did not arrive today"}])[0].output == "card"


def test_linear_rung_is_served_without_torch(home):
    code = (
        "import sys; from sartor import Home\n"
        f"print(Home({str(home.store.root)!r}).model('desk').answer(['a transfer is late'])[0].output)\n"
        "assert not {'torch', 'transformers', 'sklearn'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "transfer"
