"""A real server of adapters on loopback, with vLLM's calls to load and let go, over llama.cpp within this process."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from sartor.serving.engine import Wish, Writer

BASE = "tiny"


@dataclass
class AdapterServer:
    """What it holds, and which lies it tells."""

    engine: Writer
    known: set[str] = field(default_factory=set)
    mixed: dict[str, str] = field(default_factory=dict)
    """Name that is asked for -> name that answers in its place."""
    calls: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, path: str, body: dict[str, Any]) -> tuple[int, Any]:
        self.calls.append(path)
        if path == "/v1/load_lora_adapter":
            return self._load(body["lora_name"], Path(body["lora_path"]))
        if path == "/v1/unload_lora_adapter":
            return self._unload(body["lora_name"])
        asked = self.mixed.get(body["model"], body["model"])
        if asked not in self.known | {BASE}:
            return 404, fault(f"The model `{asked}` does not exist.")
        text = "\n".join(message["content"] for message in body["messages"])
        (told,) = self.engine.write([(asked, text)], [Wish(max_tokens=body.get("max_tokens"))])
        usage = {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}
        message = {"role": "assistant", "content": told.output}
        return 200, {"model": body["model"], "choices": [{"index": 0, "message": message}], "usage": usage}

    def _load(self, name: str, path: Path) -> tuple[int, Any]:
        if name in self.known:
            return 400, fault(f"The lora adapter '{name}' has already been loaded.")
        if not path.is_dir():
            return 404, fault(f"Loading lora {name} failed: No adapter found for {path}")
        self.engine.add(name, path)
        self.known.add(name)
        return 200, f"Success: LoRA adapter '{name}' added successfully."

    def _unload(self, name: str) -> tuple[int, Any]:
        if name not in self.known:
            return 404, fault(f"The lora adapter '{name}' cannot be found.")
        self.known.discard(name)
        self.engine.drop(name)
        return 200, f"Success: LoRA adapter '{name}' removed successfully."


def fault(message: str) -> dict[str, Any]:
    return {"error": {"message": message, "type": "BadRequestError", "param": None, "code": 400}}


@contextmanager
def serving(engine: Writer) -> Iterator[AdapterServer]:
    """The server, while it runs; the engine already holds the base under the name `tiny`."""
    held = AdapterServer(engine)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            status, told = held.answer(self.path, body)
            raw = told.encode() if isinstance(told, str) else json.dumps(told).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(raw)))
            self.end_headers()
            self.wfile.write(raw)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    held.url = f"http://127.0.0.1:{server.server_address[1]}/v1"
    try:
        yield held
    finally:
        server.shutdown()
        server.server_close()
