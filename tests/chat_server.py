"""A server of this machine that speaks OpenAI's chat completions, well or badly as a test wants.

with ChatServer() as server:
    server.replies += [fails(429, "slow down"), resets()]   # to the next two questions; then it writes captions
"""

import hashlib
import json
import re
import socket
import struct
import sys
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

Reply = Callable[["Connection", str], None]  # (connection, prompt)
WRITTEN = 20  # captions of an answer: more than any test asks for


def written(prompt: str) -> list[str]:
    """The captions the server writes for a prompt."""
    name = hashlib.sha256(prompt.encode()).hexdigest()[:8]
    return [f"caption {number} of {name}" for number in range(WRITTEN)]


def completes(content: str | None = None, finish_reason: str = "stop", refusal: str | None = None) -> Reply:
    """A completion with this text; without one, with captions."""

    def reply(connection: "Connection", prompt: str) -> None:
        text = json.dumps({"captions": written(prompt)}) if content is None and refusal is None else content
        connection.send_json(200, completion(text, finish_reason, refusal))

    return reply


def completion(text: str | None, finish_reason: str = "stop", refusal: str | None = None) -> dict[str, object]:
    message = {"role": "assistant", "content": text, "refusal": refusal}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1,
        "model": "writer",
        "choices": [{"index": 0, "message": message, "finish_reason": finish_reason, "logprobs": None}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
    }


def fails(status: int, message: str, code: str | None = None, **headers: str) -> Reply:
    """An error as OpenAI has it; `retry_after` is the header Retry-After."""
    body = {"error": {"message": message, "type": "error", "param": None, "code": code}}
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return lambda connection, prompt: connection.send_json(status, body, named)


def says(body: bytes, kind: str = "application/json") -> Reply:
    """A status of 200 and this body, whatever it is."""
    return lambda connection, prompt: connection.send_body(200, body, {"Content-Type": kind})


def waits(seconds: float) -> Reply:
    """An answer that comes late, or never where the server is closed before."""

    def reply(connection: "Connection", prompt: str) -> None:
        if not connection.server.closing.wait(seconds):
            completes()(connection, prompt)

    return reply


def hangs_up() -> Reply:
    """Half of the body that the headers promise."""

    def reply(connection: "Connection", prompt: str) -> None:
        body = json.dumps(completion("x" * 1000)).encode()
        connection.send_response(200)
        connection.send_header("Content-Type", "application/json")
        connection.send_header("Content-Length", str(len(body)))
        connection.end_headers()
        connection.wfile.write(body[: len(body) // 2])
        connection.close_connection = True

    return reply


def resets() -> Reply:
    """No answer, but a reset connection."""

    def reply(connection: "Connection", prompt: str) -> None:
        connection.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.connection.close()
        connection.close_connection = True

    return reply


class ChatServer(ThreadingHTTPServer):
    """Answers on a free port until the context ends.

    Attributes:
        replies: to the next questions, first come first served; captions when there are none left.
        questions: the bodies of all questions so far.
        keys: what they had in the header Authorization.
        key: the only key that is let in; None lets in all.
        knows_json_mode: whether `response_format` is understood.
        broken: errors of this server itself; there must be none.
    """

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Connection)
        self.replies: list[Reply] = []
        self.questions: list[dict[str, object]] = []
        self.keys: list[str | None] = []
        self.key: str | None = None
        self.knows_json_mode = True
        self.broken: list[BaseException] = []
        self.closing = threading.Event()
        self._thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.01})

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/v1"

    @property
    def prompts(self) -> list[str]:
        return [question["messages"][0]["content"] for question in self.questions]

    def handle_error(self, request: object, client_address: object) -> None:
        error = sys.exception()
        if not isinstance(error, ConnectionError):  # who asked may have gone
            self.broken.append(error)

    def __enter__(self) -> "ChatServer":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.closing.set()
        self.shutdown()
        self._thread.join()
        self.server_close()
        assert self.broken == []


class Connection(BaseHTTPRequestHandler):
    """One connection, kept open between questions as real servers keep it."""

    server: ChatServer
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.questions.append(body)
        self.server.keys.append(self.headers["Authorization"])
        self._reply(body)(self, body["messages"][0]["content"])

    def _reply(self, body: dict[str, object]) -> Reply:
        if self.path != "/v1/chat/completions":
            return fails(404, f"Unknown request URL: POST {self.path}", "unknown_url")
        if self.server.key is not None and self.headers["Authorization"] != f"Bearer {self.server.key}":
            return fails(401, "Incorrect API key provided.", "invalid_api_key")
        if body["model"] != "writer":
            return fails(404, f"The model `{body['model']}` does not exist.", "model_not_found")
        if "response_format" in body and not self.server.knows_json_mode:
            return fails(400, "'response_format.type' must be 'json_schema' or 'text'")
        if "response_format" in body and not re.search("json", body["messages"][0]["content"], re.IGNORECASE):
            return fails(400, "'messages' must contain the word 'json' in some form")
        return self.server.replies.pop(0) if self.server.replies else completes()

    def send_json(self, status: int, body: object, headers: dict[str, str] | None = None) -> None:
        self.send_body(status, json.dumps(body).encode(), {"Content-Type": "application/json", **(headers or {})})

    def send_body(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""
