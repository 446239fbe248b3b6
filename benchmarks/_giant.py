"""A simulated giant: an OpenAI-compatible server in a process of its own that gives every chat the same answer at once.

python -m benchmarks._giant     # prints its address
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from benchmarks._shared import ROOT

SAID = json.dumps(
    {
        "id": "chatcmpl-giant",
        "object": "chat.completion",
        "created": 1_790_000_000,
        "model": "giant",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": "giant"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 20, "completion_tokens": 2, "total_tokens": 22},
    }
).encode()
HEAD = f"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {len(SAID)}\r\n\r\n".encode()


@contextmanager
def giant() -> Iterator[str]:
    """The address of one that runs, up to and with /v1."""
    command = [sys.executable, "-m", "benchmarks._giant"]
    running = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert running.stdout is not None
    try:
        yield running.stdout.readline().strip()
    finally:
        running.terminate()
        running.wait()


async def _serve() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
                await reader.readexactly(int(length or 0))
                writer.write(HEAD + SAID)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


if __name__ == "__main__":
    try:
        asyncio.run(_serve())
    except KeyboardInterrupt:
        sys.exit(0)
