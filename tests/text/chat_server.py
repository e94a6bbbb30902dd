"""A local server that speaks the chat-completions protocol, well or badly, and remembers what it was sent."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.patience import PATIENCE

SENTENCES = (
    "At low power, ovarian hilus cells are small pink clusters beside vessels and nerves.",
    "At high power, hilus cells are round or polygonal with abundant granular pink cytoplasm.",
    "The nuclei of hilus cells are round and central with one distinct nucleolus.",
    "Rod-shaped pink crystals may lie in the cytoplasm of hilus cells.",
    "Golden brown lipofuscin pigment dusts the cytoplasm of some hilus cells.",
    "Nests of hilus cells have smooth outlines in loose pale pink stroma.",
    "Thin nerve fibers run along the clusters of hilus cells.",
)


def completion(text: str) -> tuple[int, dict[str, str], bytes]:
    """An answer as OpenAI, Ollama and vLLM give it."""
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 200, "completion_tokens": 150, "total_tokens": 350}
    body = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice]}
    return 200, {}, json.dumps(body | {"usage": usage}).encode()


def failure(code: int, message: str, headers: dict[str, str] | None = None) -> tuple[int, dict[str, str], bytes]:
    """An error as OpenAI gives it."""
    return code, headers or {}, json.dumps({"error": {"message": message, "type": "error"}}).encode()


@dataclass
class ChatServer:
    """What the next answers are, and what was asked."""

    url: str
    answers: list[tuple[int, dict[str, str], bytes]] = field(default_factory=list)
    requests: list[dict[str, Any]] = field(default_factory=list)
    may_answer: threading.Event = field(default_factory=threading.Event)


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    """A running server on a free port of this machine."""
    state = ChatServer("")
    state.may_answer.set()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            raw = self.rfile.read(int(self.headers["Content-Length"]))
            headers = {k.lower(): v for k, v in self.headers.items()}
            state.requests.append({"path": self.path, "headers": headers, "body": json.loads(raw)})
            state.may_answer.wait(PATIENCE)
            code, extra, body = state.answers.pop(0) if state.answers else failure(400, "nothing left to say")
            try:
                self.send_response(code)
                for name, value in extra.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)
            except BrokenPipeError:
                pass

        def log_message(self, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    state.url = f"http://127.0.0.1:{server.server_port}/v1"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield state
    finally:
        state.may_answer.set()
        server.shutdown()
        thread.join()
        server.server_close()
