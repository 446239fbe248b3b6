"""An upstream that answers at once, and the plain proxy before it: two nginx servers from one text of configuration."""

import json
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

COMPLETION = {
    "id": "chatcmpl-mock",
    "object": "chat.completion",
    "created": 1_790_000_000,
    "model": "mock",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "The card is on its way.", "refusal": None},
            "logprobs": None,
            "finish_reason": "stop",
        }
    ],
    "usage": {"prompt_tokens": 24, "completion_tokens": 8, "total_tokens": 32},
    "system_fingerprint": None,
}
WORDS = ("The", " card", " is", " on", " its", " way", ",", " and", " will", " be", " with", " you", " soon", ".")

# nginx answers the same bytes each time; a stream is told by the body, which `$request_body` holds only once it was
# read, so streams have an address of their own.
NGINX = """
daemon off;
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log warn;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 1000000000;
  keepalive_timeout 3600;
  {server}
}}
"""
UPSTREAM = """
  server {{
    listen 127.0.0.1:{port};
    location / {{ default_type application/json; return 200 '{completion}'; }}
    location /stream/ {{ default_type text/event-stream; return 200 '{events}'; }}
  }}
"""
PROXY = """
  upstream mock {{ server 127.0.0.1:{upstream}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{
      proxy_pass http://mock; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffering off;
    }}
  }}
"""


def events() -> str:
    """One streamed completion as server-sent events, usage at its end."""
    head = {"id": "chatcmpl-mock", "object": "chat.completion.chunk", "created": 1_790_000_000, "model": "mock"}
    deltas = [{"role": "assistant", "content": ""}, *({"content": word} for word in WORDS)]
    chunks = [head | {"choices": [{"index": 0, "delta": delta, "finish_reason": None}]} for delta in deltas]
    chunks.append(head | {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
    chunks.append(head | {"choices": [], "usage": COMPLETION["usage"]})
    return "".join(f"data: {json.dumps(chunk)}\n\n" for chunk in chunks) + "data: [DONE]\n\n"


def upstream_config(port: int) -> str:
    """The mock upstream."""
    return UPSTREAM.format(port=port, completion=_quoted(json.dumps(COMPLETION)), events=_quoted(events()))


def proxy_config(port: int, upstream: int) -> str:
    """A plain proxy before it: what the machine can do at best."""
    return PROXY.format(port=port, upstream=upstream)


@contextmanager
def nginx(folder: Path, server: str, port: int) -> Iterator["subprocess.Popen[bytes]"]:
    """Run nginx with this server until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "nginx.conf"
    config.write_text(NGINX.format(folder=folder, server=server), encoding="utf-8")
    process = subprocess.Popen(["nginx", "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(config)])
    try:
        wait_for(f"http://127.0.0.1:{port}/", process)
        yield process
    finally:
        process.terminate()
        process.wait()


def wait_for(url: str, process: "subprocess.Popen[bytes]", seconds: float = 90.0) -> None:
    """Until something answers at the address, whatever it says.

    Raises:
        SystemExit: the process ended, or nothing answered in time.
    """
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        if process.poll() is not None:
            raise SystemExit(f"{process.args} ended with {process.returncode} before it answered at {url}.")
        try:
            urllib.request.urlopen(url, timeout=2)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"{process.args} did not answer at {url} within {seconds:g} seconds.")


def _quoted(text: str) -> str:
    """Inside single quotes of nginx; `$` would be a variable, and there is none in what we serve."""
    assert "$" not in text
    return text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n")
