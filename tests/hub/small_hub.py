"""A model hub on loopback with one repository: the part of the protocol that fetching a snapshot needs."""

import hashlib
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

REPO = "org/tiny"
COMMIT = "0123456789abcdef0123456789abcdef01234567"


@contextmanager
def hub_serving(folder: Path) -> Iterator[tuple[str, list[str]]]:
    """Serve a folder as the repository; yields the hub's address and the list of files that were asked for."""
    asked: list[str] = []
    files = {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}

    class Handler(BaseHTTPRequestHandler):
        def do_HEAD(self) -> None:
            self._answer()

        def do_GET(self) -> None:
            body = self._answer()
            self.wfile.write(body)

        def _answer(self) -> bytes:
            path = self.path.split("?")[0]
            if path == f"/api/models/{REPO}/revision/{COMMIT}":
                siblings = [{"rfilename": name} for name in files]
                return self._send(json.dumps({"id": REPO, "sha": COMMIT, "siblings": siblings}).encode())
            if path == f"/api/models/{REPO}/tree/{COMMIT}":
                tree = [
                    {"type": "file", "path": n, "size": len(b), "oid": hashlib.sha1(b).hexdigest()}
                    for n, b in files.items()
                ]
                return self._send(json.dumps(tree).encode())
            prefix = f"/{REPO}/resolve/{COMMIT}/"
            if path.startswith(prefix) and (name := path.removeprefix(prefix)) in files:
                asked.append(name)
                return self._send(files[name], {"ETag": f'"{hashlib.sha1(files[name]).hexdigest()}"'})
            self.send_response(404)
            self.send_header("X-Error-Code", "RepoNotFound")
            self.send_header("Content-Length", "0")
            self.end_headers()
            return b""

        def _send(self, body: bytes, headers: dict[str, str] | None = None) -> bytes:
            self.send_response(200)
            for name, value in {"X-Repo-Commit": COMMIT, "Content-Length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, value)
            self.end_headers()
            return body

        def log_message(self, *_: object) -> None:
            """Silence."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
