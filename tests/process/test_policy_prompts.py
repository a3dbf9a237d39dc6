"""MCP servers and shortened texts on their way through real processes."""

from __future__ import annotations

import json
import os
from pathlib import Path

from tests.fakes.claude import answer, ended, init, message
from tests.fakes.cli import FakeCli
from tests.harness import Llm, Recorder

MODEL = "gateway-claude"


def test_a_file_for_each_prompt(llm: Llm, claude: FakeCli, tmp_path: Path) -> None:
    """T-20: 0600, with the servers of that prompt alone, without keys, and gone afterwards."""
    key = "sk-literal-0000"
    servers = {n: {"command": n, "env": {"KEY": key}} for n in ("one", "two")}
    config = Path(os.environ["CLAUDE_CONFIG_DIR"])
    config.mkdir(parents=True)
    (config / ".claude.json").write_text(json.dumps({"mcpServers": servers}))
    said = llm.asks(
        (MODEL, "hello", {"mcp_servers": "one"}),
        (MODEL, "hello", {"mcp_servers": "two"}),
        (MODEL, "hello", {"mcp_servers": "three"}),
        (MODEL, "hello", {}),
    )
    assert [one.answer for one in said] == ["ok", "ok", None, "ok"]
    assert said[2].category == "invalid_input" and "it has one, two" in (said[2].error or "")
    first, second, none = claude.calls  # other servers are another prompt: nothing is reused
    for call, name in ((first, "one"), (second, "two")):
        path = call.value("--mcp-config")
        assert path is not None and not os.path.exists(path)
        file = call.files[path]
        assert file["mode"] == 0o600
        assert list(json.loads(file["text"])["mcpServers"]) == [name]
        assert key not in file["text"] and key in call.env.values()
    assert none.value("--mcp-config") is None
    assert list((tmp_path / "tmp").glob("llm-gateway-*")) == []


def test_what_is_sent_is_recorded_as_sent(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """T-34: the CLI gets the shortened prompt; the recorder has both texts and their lengths."""
    claude.does(answer("In conclusion, the caching feature is slow. `the x system`"))
    written = "Please fix the session system. Could you also keep `Please  this`?"
    (said,) = llm.asks(
        (MODEL, written, {"optimize_prompt": True, "optimize_response": True}),
    )
    sent, shown = "fix session. also keep `Please  this`?", "caching is slow. `the x system`"
    assert claude.call.prompt == sent and said.answer == shown
    row = recorder.request
    assert (row["prompt"], row["prompt_asked"]) == (sent, written)
    assert row["response"] == shown and row["response_raw"].startswith("In conclusion")
    assert (row["prompt_chars"], row["prompt_chars_asked"]) == (len(sent), len(written))
    assert (row["response_chars"], row["response_chars_raw"]) == (
        len(shown),
        len(row["response_raw"]),
    )
    ((applied,),) = recorder.query("select optimization_applied from gateway_metadata")
    assert applied == 1


def test_a_shortened_answer_comes_at_the_end(llm: Llm, claude: FakeCli) -> None:
    """Nothing of it streams; all its messages are there, and JSON is left as it is."""
    claude.in_turn(
        {
            "steps": [
                init(),
                *message("Please ", "wait", id="a"),
                *answer("the a system", id="b")[1:],
            ]
        },
        {
            "steps": [
                init(),
                *message('{"name": "the a system", "age": "1"}'),
                ended('{"name": "the a system", "age": "1"}'),
            ]
        },
    )
    ran = llm("-m", MODEL, "-o", "optimize_response", "1", "hello")
    assert ran.answer == "wait\n\na\n"
    ran = llm("-m", MODEL, "-o", "optimize_response", "1", "--schema", "name, age", "hello")
    assert json.loads(ran.answer) == {"name": "the a system", "age": "1"}


def test_a_prompt_of_which_nothing_would_be_left(llm: Llm, claude: FakeCli) -> None:
    """Is sent as it was written."""
    llm.asks((MODEL, "Please", {"optimize_prompt": True}))
    assert claude.call.prompt == "Please"
