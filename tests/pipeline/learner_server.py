"""A server of OpenAI's protocol on loopback that learns from the examples in a prompt, as large models do.

It copies the answer of the example nearest to the question, with the question's own numbers and brand in it; without
examples it chats. Counts what it was asked, so that tests see what a prompt really sends.
"""

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Learner:
    url: str = ""
    asked: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    broken: bool = False

    def answer(self, chat: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(chat)
        said = [(m["role"], m["content"]) for m in chat["messages"] if m["role"] != "system"]
        question = said[-1][1]
        shown = [(said[i][1], said[i + 1][1]) for i in range(0, len(said) - 1, 2)]
        text = self.copied(question, shown) if shown else f"Sure! {question} is about products."
        if "response_format" in chat and not shown:
            text = "{}"
        choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text}}
        choice["finish_reason"] = "stop"
        if chat.get("logprobs"):
            pieces = re.findall(r"\w+|\W", text)
            choice["logprobs"] = {"content": [{"token": piece, "logprob": -0.01 * len(piece)} for piece in pieces]}
        read = sum(len(m["content"].split()) for m in chat["messages"])
        usage = {"prompt_tokens": read, "completion_tokens": len(text.split())}
        usage["total_tokens"] = sum(usage.values())
        head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": chat["model"]}
        return {**head, "choices": [choice], "usage": usage}

    @staticmethod
    def copied(question: str, shown: list[tuple[str, str]]) -> str:
        words = set(question.split())
        asked, answer = max(shown, key=lambda one: len(words & set(one[0].split())))
        numbers, own = re.findall(r"\d+", asked), re.findall(r"\d+", question)
        for old, new in zip(numbers, own, strict=False):
            answer = re.sub(rf"\b{old}\b", new, answer)
        return answer.replace(asked.split()[0], (question.split() or [""])[0])


@contextmanager
def learner_server() -> Iterator[Learner]:
    learner = Learner()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            learner.keys.add(self.headers.get("authorization", ""))
            said = {"error": {"message": "out of order"}} if learner.broken else learner.answer(body)
            data = json.dumps(said).encode()
            self.send_response(400 if learner.broken else 200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            with suppress(ConnectionError):  # whoever asked may have given up
                self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    learner.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield learner
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
