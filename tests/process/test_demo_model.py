"""gateway-demo through llm: the same way as every other provider's, without an account."""

from __future__ import annotations

import json
import time
from typing import Any

from tests.fakes.cli import alive, until
from tests.harness import Llm, Recorder

CATEGORIES = (
    *("cli_error", "auth", "rate_limited", "overloaded", "network", "model_not_found", "refused"),
    *("invalid_input", "limit_reached", "permission_denied"),
)


def test_directives(llm: Llm, recorder: Recorder) -> None:
    """Echo, words, thinking, tools by access level, failures: answers and categories."""
    (llm.work / "a.txt").write_text("inside")
    cases: list[tuple[str, str, dict[str, Any]]] = [
        ("gateway-demo", "one two", {}),
        ("gateway-demo", "demo: words 3", {}),
        ("gateway-demo", "demo: say exactly this ", {}),
        ("gateway-demo", "demo: read a.txt\ndemo: say read", {}),
        ("gateway-demo", "demo: write b.txt hello\ndemo: say refused", {}),
        ("gateway-demo", "demo: write b.txt hello\ndemo: say wrote", {"access": "edit"}),
        ("gateway-demo", "demo: write ../c.txt hello\ndemo: say outside", {"access": "edit"}),
        ("gateway-demo", "hi", {"system": "Be brief."}),
        ("gateway-demo", "--help $(touch d.txt)", {}),
        ("gateway-demo", "demo: hang", {"timeout": 1}),
        *(("gateway-demo", f"demo: fail {category}", {}) for category in CATEGORIES),
    ]
    outcomes = llm.asks(*cases)
    answers = [o.answer for o in outcomes]
    assert answers[:9] == [
        "You said: one two\n(turn 1 of this session, 2 words)",
        "word1 word2 word3",
        "exactly this",
        "read",
        "refused",
        "wrote",
        "outside",
        "[Be brief.]\nYou said: hi\n(turn 1 of this session, 1 word)",
        "You said: --help $(touch d.txt)\n(turn 1 of this session, 3 words)",
    ]
    assert [o.category for o in outcomes[9:]] == ["timeout", *CATEGORIES]
    assert (llm.work / "b.txt").read_text() == "hello"
    assert not (llm.work / "d.txt").exists() and not (llm.folder / "c.txt").exists()
    rows = recorder.requests
    assert [row["refused_actions"] for row in rows[3:7]] == [0, 1, 0, 1]
    assert [json.loads(row["tools_run"] or "[]") for row in rows[3:7]] == [["read"], [], ["write"],
                                                                             []]  # fmt: skip
    assert (rows[0]["model"], rows[0]["cli_version"]) == ("demo-1", "1.0")


def test_a_conversation_counts_its_turns(llm: Llm) -> None:
    """Two processes, one session, usage of each turn alone; deterministic."""
    first = llm("-m", "gateway-demo", "one two three")
    second = llm("-c", "--json", "four")
    assert first.answer == "You said: one two three\n(turn 1 of this session, 3 words)\n"
    (row,) = json.loads(second.answer)
    assert row["response"] == "You said: four\n(turn 2 of this session, 1 word)"
    assert (row["input_tokens"], row["output_tokens"]) == (16, 10)
    assert row["resolved_model"] == "demo-1"


def test_a_schema_gets_an_example(llm: Llm) -> None:
    """With the types that it asks for."""
    schema = "name, age int, fine bool"
    answer = json.loads(llm("-m", "gateway-demo", "--schema", schema, "x").answer)
    assert answer == {"name": "demo", "age": 7, "fine": True}


def test_ctrl_c(llm: Llm, recorder: Recorder) -> None:
    """A hung demo is gone at once, its row says canceled."""
    screen = llm.pty("-m", "gateway-demo", "demo: hang")
    pids = until(lambda: [a["pid"] for a in recorder.attempts if a["pid"]], what="a spawn")
    time.sleep(0.3)
    screen.type("\x03")
    assert screen.end() == 1
    assert recorder.request["status"] == "canceled"
    assert not alive(pids[0])


def test_nothing_of_the_workspace_is_imported(llm: Llm) -> None:
    """A repository with a module of that name does not run in the demo's place."""
    for name in ("json", "llm_gateway", "argparse"):
        (llm.work / f"{name}.py").write_text("open('hacked', 'w')")
    assert llm("-m", "gateway-demo", "demo: say fine").answer == "fine\n"
    assert not (llm.work / "hacked").exists()
