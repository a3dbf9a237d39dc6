"""A deterministic model server for tests: Anthropic, OpenAI, Gemini and xAI on one port.

Run it as a program (``mock_models.py --log FILE``): it prints its port and ends when its standard
input ends; a line there makes it count tries from the start again.  Or use `MockServer` in-process.
Every request becomes one JSON line in the log file.

What it answers is steered by directives in the newest user message:

    MOCK:ECHO                       (the default) repeat the text and say which turn this is
    MOCK:SAY=text                   answer exactly that; it takes the rest of the line
    MOCK:WORDS=n  MOCK:SLOW=0.2     n words; seconds between the pieces of a stream
    MOCK:THINK                      a reasoning block first
    MOCK:TOOL=name {"json": 1}      call that tool; several lines make one call per model turn
    MOCK:SAYTHEN=text               text said before the tool call of the next such line
    MOCK:JSON={...}                 answer that JSON, also as a CLI's structured output
    MOCK:NOSCHEMA                   ignore the schema that was asked for
    MOCK:MAXTOK MOCK:REFUSE MOCK:EMPTY    end that way
    MOCK:STATUS=429 MOCK:RETRYAFTER=7     an HTTP error
    MOCK:DROP  MOCK:HANG  MOCK:STALL      reset mid-stream; never answer; stop after the first piece
    MOCK:DROP=all                   reset answers that do not stream as well
    MOCK:TIMES=n                    misbehave in such a way only the first n times

A key with ``bad`` in it gets status 401, a model whose name starts with ``nope`` status 404.
"""

from __future__ import annotations

import argparse
import json
import re
import select
import socket
import struct
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, TypedDict

import mock_anthropic
import mock_gemini
import mock_openai
from mock_directives import Conversation, Reply, decide

LOGGED_HEADERS = ("authorization", "x-api-key", "x-goog-api-key", "user-agent", "anthropic-beta")
_GEMINI = re.compile(r"/models/(?P<model>[^/:]+):(?P<verb>\w+)")


class Logged(TypedDict):
    """One request as the log file has it."""

    number: int
    time: float
    method: str
    path: str
    headers: dict[str, str]
    body: Any


class MockServer(ThreadingHTTPServer):
    """The server: `url` is its base, `log` the requests so far."""

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, port: int = 0, log_file: Path | None = None) -> None:
        super().__init__(("127.0.0.1", port), _Handler)
        self.log: list[Logged] = []
        self.log_file = log_file
        self._lock = threading.Lock()
        self._asked: Counter[str] = Counter()

    @property
    def url(self) -> str:
        """The base URL of the server."""
        return f"http://127.0.0.1:{self.server_address[1]}"

    def start(self) -> None:
        """Serve in a background thread until `shutdown`."""
        threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.05}).start()

    def record(self, method: str, path: str, headers: dict[str, str], body: Any) -> int:
        """Log a request and return its number, counted from 1."""
        with self._lock:
            entry: Logged = {
                "number": len(self.log) + 1,
                "time": time.time(),
                "method": method,
                "path": path,
                "headers": headers,
                "body": body,
            }
            self.log.append(entry)
            if self.log_file is not None:
                with self.log_file.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(entry) + "\n")
            return entry["number"]

    def asked_before(self, conversation: Conversation) -> int:
        """Count how often this turn was asked for before, as a retrying client does."""
        if conversation.side_answer is not None or conversation.forced is not None:
            return 0
        key = json.dumps([conversation.user_turns, len(conversation.tool_results)])
        with self._lock:
            self._asked[key] += 1
            return self._asked[key] - 1

    def forget(self) -> None:
        """Count the tries of every turn from the start again, for `MOCK:TIMES`."""
        with self._lock:
            self._asked.clear()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore clients that went away; report anything else."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    """Speaks HTTP; the dialect modules speak everything above it."""

    protocol_version = "HTTP/1.1"
    server: MockServer

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on standard error."""

    def do_HEAD(self) -> None:
        self._record()
        self._json({})

    def do_GET(self) -> None:
        self._record()
        path = self.path.partition("?")[0]
        if self._bad_key():
            self._error(401)
        elif path.endswith("/models"):
            self._json(mock_openai.models(self._dialect() == "xai"))
        elif path.endswith("/api-key"):
            self._json(mock_openai.api_key())
        else:
            self._json({})

    def do_POST(self) -> None:
        number = self._record()
        body = self.body if isinstance(self.body, dict) else {}
        path = self.path.partition("?")[0]
        if path.endswith("/count_tokens"):
            self._json({"input_tokens": 1250})
        elif path.endswith(":countTokens"):
            self._json({"totalTokens": 1200})
        elif path.endswith("/messages"):
            self._answer(mock_anthropic.conversation(body), number)
        elif path.endswith("/responses"):
            self._answer(mock_openai.conversation(body), number)
        elif match := _GEMINI.search(path):
            stream = match["verb"] == "streamGenerateContent"
            model = match["model"]
            self._answer(mock_gemini.conversation(body, model, stream), number)
        else:
            self._json({})

    def _record(self) -> int:
        length = int(self.headers.get("content-length") or 0)
        if "chunked" in self.headers.get("transfer-encoding", ""):
            raw = b"".join(self._chunks())
        else:
            raw = self.rfile.read(length)
        try:
            self.body: Any = json.loads(raw) if raw else None
        except ValueError:
            self.body = raw.decode("utf-8", "replace")
        headers = {name: self.headers[name] for name in LOGGED_HEADERS if name in self.headers}
        return self.server.record(self.command, self.path, headers, self.body)

    def _chunks(self) -> Iterator[bytes]:
        while size := int(self.rfile.readline().partition(b";")[0], 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()

    def _dialect(self) -> str:
        path = self.path.partition("?")[0]
        if path.endswith("/messages"):
            return "anthropic"
        if ":" in path:
            return "gemini"
        return "openai" if "/openai/" in path else "xai"

    def _bad_key(self) -> bool:
        keys = [self.headers.get(name, "") for name in LOGGED_HEADERS[:3]]
        return any("bad" in key for key in keys)

    def _error(self, status: int, number: int = 0, retry_after: str | None = None) -> None:
        bodies = {
            "anthropic": lambda: mock_anthropic.error(status, number),
            "openai": lambda: mock_openai.error(status, xai=False),
            "xai": lambda: mock_openai.error(status, xai=True),
            "gemini": lambda: mock_gemini.error(status),
        }
        extra = {"retry-after": retry_after} if retry_after else {}
        self._json(bodies[self._dialect()](), status, extra)

    def _json(self, body: Any, status: int = 200, extra: dict[str, str] | None = None) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(data)))
        for name, value in (extra or {}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(data)

    def _answer(self, conversation: Conversation, number: int) -> None:
        if self._bad_key():
            return self._error(401, number)
        if conversation.model.startswith("nope"):
            return self._error(404, number)
        reply = decide(conversation, self.server.asked_before(conversation))
        if reply.status != 200:
            return self._error(reply.status, number, reply.retry_after)
        if reply.hang:
            return self._wait_for_disconnect()
        if conversation.stream:
            return self._stream(reply, self._events(reply, conversation, number))
        time.sleep(reply.delay * len(reply.deltas()))
        if reply.drop and reply.drop_all:
            return self._reset()
        return self._json(self._whole(reply, conversation, number))

    def _whole(self, reply: Reply, conversation: Conversation, number: int) -> dict[str, Any]:
        dialect = self._dialect()
        if dialect == "anthropic":
            return mock_anthropic.whole(reply, conversation.model, number)
        if dialect == "gemini":
            return mock_gemini.whole(reply, conversation.model, number)
        custom = mock_openai.custom_tools(self.body)
        return mock_openai.whole(reply, conversation.model, number, custom)

    def _events(
        self, reply: Reply, conversation: Conversation, number: int
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        dialect = self._dialect()
        if dialect == "anthropic":
            return mock_anthropic.events(reply, conversation.model, number)
        if dialect == "gemini":
            return (("", data) for data in mock_gemini.chunks(reply, conversation.model, number))
        custom = mock_openai.custom_tools(self.body)
        return mock_openai.events(reply, conversation.model, number, custom)

    def _stream(self, reply: Reply, events: Iterator[tuple[str, dict[str, Any]]]) -> None:
        self.send_response(200)
        self.send_header("content-type", "text/event-stream")
        self.send_header("transfer-encoding", "chunked")
        self.end_headers()
        pieces = 0
        for name, data in events:
            if _is_text_piece(name, data):
                pieces += 1
                if pieces > 1 and reply.delay:
                    time.sleep(reply.delay)
                if pieces > 1 and reply.stall:
                    return self._wait_for_disconnect()
                if pieces > 2 and reply.drop:
                    return self._reset()
            prefix = f"event: {name}\n" if name else ""
            self._chunk(f"{prefix}data: {json.dumps(data)}\n\n".encode())
        if reply.stall:
            return self._wait_for_disconnect()
        if reply.drop:
            return self._reset()
        return self._chunk(b"")

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _reset(self) -> None:
        linger = struct.pack("ii", 1, 0)
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        self.close_connection = True
        self.connection.close()

    def _wait_for_disconnect(self) -> None:
        self.close_connection = True
        while True:
            readable, _, _ = select.select([self.connection], [], [], 0.5)
            if readable and not self.connection.recv(4096):
                return


def _is_text_piece(name: str, data: dict[str, Any]) -> bool:
    if name:
        return name.endswith("output_text.delta") or (
            name == "content_block_delta" and data["delta"]["type"] == "text_delta"
        )
    return "finishReason" not in data["candidates"][0]


def main() -> None:
    """Serve until standard input ends."""
    parser = argparse.ArgumentParser(description="A deterministic model server for tests.")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--log", type=Path, default=None)
    options = parser.parse_args()
    server = MockServer(options.port, options.log)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.server_address[1], flush=True)
    for _ in sys.stdin:
        server.forget()
        print("forgotten", flush=True)


if __name__ == "__main__":
    main()
