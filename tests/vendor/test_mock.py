"""The mock model server alone, in-process."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mock_directives
import pytest
from mock_models import MockServer

DIALECTS = ("anthropic", "openai", "xai", "gemini")
SCHEMA = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "n": {"type": "integer"}},
    "required": ["name", "n"],
}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[MockServer]:
    """A mock server in this process."""
    made = MockServer(log_file=tmp_path / "log.jsonl")
    made.start()
    yield made
    made.shutdown()
    made.server_close()


def _body(dialect: str, turns: list[str], stream: bool) -> dict[str, Any]:
    answers = ["an answer"] * (len(turns) - 1) + [""]
    pairs = [pair for both in zip(turns, answers, strict=True) for pair in both if pair]
    roles = ["user" if n % 2 == 0 else "assistant" for n in range(len(pairs))]
    if dialect == "anthropic":
        messages = [{"role": r, "content": t} for r, t in zip(roles, pairs, strict=True)]
        return {"model": "claude-x", "stream": stream, "messages": messages}
    if dialect == "gemini":
        return {
            "contents": [
                {"role": r.replace("assistant", "model"), "parts": [{"text": t}]}
                for r, t in zip(roles, pairs, strict=True)
            ]
        }
    items = [
        {"type": "message", "role": r, "content": [{"type": "input_text", "text": t}]}
        for r, t in zip(roles, pairs, strict=True)
    ]
    return {"model": "gpt-x", "stream": stream, "input": items}


def _path(dialect: str, stream: bool) -> str:
    verb = "streamGenerateContent?alt=sse" if stream else "generateContent"
    return {
        "anthropic": "/v1/messages",
        "openai": "/openai/v1/responses",
        "xai": "/v1/responses",
        "gemini": f"/v1beta/models/gemini-x:{verb}",
    }[dialect]


def post(
    server: MockServer, path: str, body: dict[str, Any], key: str = "sk-test-000"
) -> tuple[int, dict[str, str], str]:
    """Send a request and return status, headers and text."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    try:
        headers = {"content-type": "application/json", "x-api-key": key}
        connection.request("POST", path, json.dumps(body), headers)
        response = connection.getresponse()
        return response.status, dict(response.getheaders()), response.read().decode()
    finally:
        connection.close()


def ask(server: MockServer, dialect: str, *turns: str, stream: bool = True) -> Any:
    """Ask in a vendor's dialect and return the events of the stream, or the whole answer."""
    path = _path(dialect, stream)
    status, _, text = post(server, path, _body(dialect, list(turns), stream))
    assert status == 200, text
    if not stream:
        return json.loads(text)
    return [json.loads(line[6:]) for line in text.splitlines() if line.startswith("data: ")]


def said(dialect: str, answer: Any) -> str:
    """Return the text of an answer, streamed or not."""
    if isinstance(answer, dict):
        if dialect == "anthropic":
            return "".join(block.get("text", "") for block in answer["content"])
        if dialect == "gemini":
            parts = answer["candidates"][0]["content"]["parts"]
            return "".join(part.get("text", "") for part in parts)
        contents = [item.get("content", []) for item in answer["output"]]
        return "".join(part.get("text", "") for content in contents for part in content)
    if dialect == "gemini":
        return "".join(
            part.get("text", "")
            for chunk in answer
            for part in chunk["candidates"][0]["content"]["parts"]
            if not part.get("thought")
        )
    deltas = [event["delta"] for event in answer if "delta" in event]
    if dialect == "anthropic":
        return "".join(delta.get("text", "") for delta in deltas)
    return "".join(
        event["delta"] for event in answer if event["type"] == "response.output_text.delta"
    )


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_echo_says_which_turn_it_is(server: MockServer, dialect: str, stream: bool) -> None:
    one = ask(server, dialect, "hello there", stream=stream)
    assert said(dialect, one) == "You said: hello there (turn 1 of this conversation)"
    two = ask(server, dialect, "hello there", "again", stream=stream)
    assert said(dialect, two) == (
        "You said: again (turn 2 of this conversation; first was: hello there)"
    )


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 503, 529])
def test_status(server: MockServer, dialect: str, status: int) -> None:
    body = _body(dialect, [f"MOCK:STATUS={status} MOCK:RETRYAFTER=7"], True)
    got, headers, text = post(server, _path(dialect, True), body)
    assert got == status
    assert headers["retry-after"] == "7"
    assert "error" in json.loads(text)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_times_limits_misbehaviour(server: MockServer, dialect: str) -> None:
    body = _body(dialect, ["MOCK:STATUS=500 MOCK:TIMES=2 MOCK:SAY=ok"], True)
    path = _path(dialect, True)
    assert [post(server, path, body)[0] for _ in range(3)] == [500, 500, 200]
    server.forget()
    assert post(server, path, body)[0] == 500


def test_bad_key_and_unknown_model(server: MockServer) -> None:
    body = _body("anthropic", ["x"], True)
    assert post(server, "/v1/messages", body, key="sk-bad-000")[0] == 401
    assert post(server, "/v1/messages", {**body, "model": "nope-1"})[0] == 404


@pytest.mark.parametrize("dialect", DIALECTS)
def test_drop_breaks_the_stream(server: MockServer, dialect: str) -> None:
    with pytest.raises((ConnectionError, http.client.HTTPException)):
        ask(server, dialect, "MOCK:DROP MOCK:WORDS=9")


def test_hang_and_stall_say_nothing_more(server: MockServer) -> None:
    for directive, some in (("HANG", False), ("STALL", True)):
        connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=0.5)
        body = json.dumps(_body("anthropic", [f"MOCK:{directive} MOCK:WORDS=9"], True))
        connection.request("POST", "/v1/messages", body)
        text = b""
        with pytest.raises(TimeoutError):
            response = connection.getresponse()
            while True:
                text += response.readline()
        assert (b"word1" in text) is some
        assert b"word2" not in text
        connection.close()


def test_slow_words(server: MockServer) -> None:
    start = time.monotonic()
    assert (
        said("xai", ask(server, "xai", "MOCK:WORDS=4 MOCK:SLOW=0.1")) == "word1 word2 word3 word4"
    )
    assert 0.3 <= time.monotonic() - start < 2


@pytest.mark.parametrize("dialect", DIALECTS)
def test_thinking_comes_first(server: MockServer, dialect: str) -> None:
    text = json.dumps(ask(server, dialect, "MOCK:THINK MOCK:WORDS=2"))
    assert -1 < text.index("Let me think") < text.index("word1")


@pytest.mark.parametrize("dialect", DIALECTS)
def test_endings(server: MockServer, dialect: str) -> None:
    words = {
        "anthropic": ('"max_tokens"', '"refusal"'),
        "gemini": ('"MAX_TOKENS"', '"SAFETY"'),
        "openai": ('"response.incomplete"', '"refusal"'),
        "xai": ('"response.incomplete"', '"refusal"'),
    }[dialect]
    assert words[0] in json.dumps(ask(server, dialect, "MOCK:MAXTOK"))
    assert words[1] in json.dumps(ask(server, dialect, "MOCK:REFUSE"))
    assert said(dialect, ask(server, dialect, "MOCK:EMPTY")) == ""


def test_say_and_json_take_the_line(server: MockServer) -> None:
    assert said("openai", ask(server, "openai", "MOCK:SAY=a  b MOCK:THINK")) == "a  b MOCK:THINK"
    assert said("gemini", ask(server, "gemini", 'MOCK:JSON={"a": 1}')) == '{"a": 1}'


def test_tools_one_per_model_turn(server: MockServer) -> None:
    prompt = 'MOCK:TOOL=Read {"p": 1}\nMOCK:SAYTHEN=and now\nMOCK:TOOL=Bash {}\n'
    messages: list[dict[str, Any]] = [{"role": "user", "content": prompt}]
    body = {"model": "claude-x", "messages": messages}
    uses = []
    for failed in (False, True):
        answer = json.loads(post(server, "/v1/messages", body)[2])
        assert answer["stop_reason"] == "tool_use"
        uses.append(answer["content"])
        result = {
            "type": "tool_result",
            "tool_use_id": answer["content"][-1]["id"],
            "is_error": failed,
            "content": "MOCK:SAY=tool results must not be obeyed",
        }
        reminder = {"type": "text", "text": "<system-reminder>MOCK:SAY=x</system-reminder>"}
        messages += [
            {"role": "assistant", "content": answer["content"]},
            {"role": "user", "content": [result, reminder]},
        ]
    assert [(use[-1]["name"], use[-1]["input"]) for use in uses] == [
        ("Read", {"p": 1}),
        ("Bash", {}),
    ]
    assert uses[1][0] == {"type": "text", "text": "and now"}
    last = json.loads(post(server, "/v1/messages", body)[2])
    assert said("anthropic", last) == "Tools run: 2; errors: 1 (Bash)."
    messages += [{"role": "assistant", "content": "."}, {"role": "user", "content": "next"}]
    assert "turn 2" in said("anthropic", json.loads(post(server, "/v1/messages", body)[2]))


def test_schema(server: MockServer) -> None:
    tool = {"name": "StructuredOutput", "input_schema": SCHEMA}
    body = {**_body("anthropic", ["give"], False), "tools": [tool]}
    use = json.loads(post(server, "/v1/messages", body)[2])["content"][0]
    assert (use["name"], use["input"]) == ("StructuredOutput", {"name": "mock", "n": 7})
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    body = {**_body("openai", ['MOCK:JSON={"name":"z","n":1}'], False), "text": form}
    answer = json.loads(post(server, "/openai/v1/responses", body)[2])
    assert json.loads(said("openai", answer)) == {"name": "z", "n": 1}


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("<system-reminder>\nMOCK:SAY=a\n</system-reminder>\n", ""),
        ("<environment_context>\n <cwd>/x</cwd></environment_context>", ""),
        ("# AGENTS.md instructions for /x\n\n<INSTRUCTIONS>\nMOCK:SAY=a\n</INSTRUCTIONS>", ""),
        ("<user_info>\nOS\n</user_info>\n\n<rules>MOCK:SAY=a</rules>", ""),
        ("<user_query>\nhello\n</user_query>", "hello"),
        ("<prompt>\n hello\n\n</prompt>", " hello\n"),
        ("<user_query>\n<prompt>\nhi\n</prompt>\n</user_query>", "hi"),
        ("<prompt>\nsee @f\n</prompt>\n\n<system-reminder>MOCK:SAY=a</system-reminder>", "see @f"),
        ("see @f\n--- Content from referenced files ---\nMOCK:SAY=a", "see @f"),
        ("  plain text ", "  plain text "),
    ],
)
def test_only_the_users_words_count(text: str, left: str) -> None:
    assert mock_directives.strip_injected(text) == left


def test_log(server: MockServer, tmp_path: Path) -> None:
    ask(server, "anthropic", "remember me")
    line = json.loads((tmp_path / "log.jsonl").read_text().splitlines()[-1])
    assert line == server.log[-1]
    assert (line["method"], line["path"]) == ("POST", "/v1/messages")
    assert line["headers"]["x-api-key"] == "sk-test-000"
    assert line["body"]["messages"][0]["content"] == "remember me"


def test_other_routes(server: MockServer) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", server.server_address[1], timeout=10)
    got = {}
    for path in ("/v1/models", "/v1/api-key", "/"):
        connection.request("GET", path)
        got[path] = json.loads(connection.getresponse().read())
    connection.close()
    assert [model["id"] for model in got["/v1/models"]["data"]] == ["grok-4.6", "grok-4.5"]
    assert got["/v1/api-key"]["api_key_disabled"] is False
    assert got["/"] == {}
    assert json.loads(post(server, "/v1/messages/count_tokens", {})[2]) == {"input_tokens": 1250}
