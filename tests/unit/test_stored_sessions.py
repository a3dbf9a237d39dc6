"""The vendors' own stores, as their CLIs write them; what is broken in them harms nobody."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from llm_gateway.providers import provider_named
from llm_gateway.providers.stored import WHOLE, StoredSession, newest_in
from llm_gateway.titles import title_of

A, B, C = (f"0a0b0c0d-1111-7222-8333-00000000000{n}" for n in "123")
NAMES = ("claude", "codex", "gemini", "grok")
ESCAPES = "first \x1b[31mred\x1b[0m\x1b]0;t\x07 words\nand more"


def lines(path: Path, *told: object, at: int = 1000) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(line) + "\n" for line in told))
    os.utime(path, (at, at))
    return path


def claude(home: Path, id: str, cwd: str, *prompts: str, at: int = 1000) -> Path:
    said: list[dict[str, Any]] = [{"type": "queue-operation", "sessionId": id}]
    for prompt in prompts:
        content = [{"type": "text", "text": prompt}]
        user = {"type": "user", "isSidechain": False, "cwd": cwd}
        said.append({**user, "message": {"role": "user", "content": content}})
        said.append({**user, "message": {"content": [{"type": "tool_result", "content": "x"}]}})
        said.append({"type": "assistant", "message": {"content": [{"type": "text", "text": "y"}]}})
    return lines(home / ".claude/projects/-w" / f"{id}.jsonl", *said, at=at)


def codex(home: Path, id: str, cwd: str, *prompts: str, at: int = 1000) -> Path:
    meta = {"id": id, "cwd": cwd, "thread_source": "user", "base_instructions": "x" * 20_000}
    said: list[dict[str, Any]] = [{"type": "session_meta", "payload": meta}]
    said.append({"type": "response_item", "payload": {"role": "developer", "text": "y" * 50_000}})
    for prompt in prompts:
        item = {"type": "UserMessage", "content": [{"type": "text", "text": prompt}]}
        said.append({"type": "event_msg", "payload": {"type": "item_completed", "item": item}})
    day = home / ".codex/sessions/2026/11/22"
    return lines(day / f"rollout-2026-11-22T12-58-09-{id}.jsonl", *said, at=at)


def gemini(home: Path, id: str, cwd: str, *prompts: str, at: int = 1000) -> Path:
    project = home / ".gemini/tmp" / Path(cwd).name
    project.mkdir(parents=True, exist_ok=True)
    (project / ".project_root").write_text(cwd)
    said: list[dict[str, Any]] = [{"sessionId": id, "kind": "main"}]
    said.append({"$set": {"messages": [{"type": "user", "content": [{"text": "<session…"}]}]}})
    for prompt in prompts:
        said.append({"id": "1", "type": "user", "content": [{"text": prompt}]})
        said.append({"id": "2", "type": "gemini", "content": "answer"})
    return lines(project / f"chats/session-2026-11-22T12-58-{id[:8]}.jsonl", *said, at=at)


def grok(home: Path, id: str, cwd: str, *prompts: str, at: int = 1000) -> Path:
    folder = home / ".grok/sessions" / cwd.replace("/", "%2F") / id
    updates = [
        {
            "method": "session/update",
            "params": {
                "update": {
                    "sessionUpdate": "user_message_chunk",
                    "content": {"type": "text", "text": f"<prompt>\n{prompt}\n</prompt>"},
                }
            },
        }
        for prompt in prompts
    ]
    lines(folder / "updates.jsonl", *updates)
    lines(folder / "signals.json", {"turnCount": len(prompts)})
    path = folder / "summary.json"
    told = {"info": {"id": id, "cwd": cwd}, "session_summary": "a summary"}
    path.write_text(json.dumps(told, indent=2))
    os.utime(path, (at, at))
    return path


WRITE = {"claude": claude, "codex": codex, "gemini": gemini, "grok": grok}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "vendors"


def found(name: str, home: Path, **variables: str) -> list[StoredSession]:
    environ: Mapping[str, str] = {"HOME": str(home), **variables}
    store = provider_named(name).stored_sessions(environ)
    assert store is not None
    return list(store)


@pytest.mark.parametrize("name", NAMES)
def test_sessions_are_found_newest_first(name: str, home: Path) -> None:
    """Id, directory, first words without what would steer a terminal, turns."""
    assert found(name, home) == []
    WRITE[name](home, A, "/w/one", ESCAPES, "second", at=1000)
    WRITE[name](home, B, "/w/two", "other words", at=3000)
    two, one = found(name, home)
    assert (two.session_id, two.cwd, two.used) == (B, "/w/two", 3000)
    assert (one.session_id, one.cwd, one.used) == (A, "/w/one", 1000)
    assert (one.title, one.turns) == ("first red words and more", 2)
    assert newest_in(found(name, home), "/w/one") == one
    assert newest_in(found(name, home), "/w/none") is None


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_file_is_passed_over(name: str, home: Path, tmp_path: Path) -> None:
    """Whatever is wrong with it; a link may lead anywhere and is not followed."""
    good = WRITE[name](home, A, "/w/one", "good")
    bad = [
        b"",
        b"\0\xff" * 999,
        b"[1, 2]\n",
        b'{"type"',
        b"null\n" * 9,
        b'{"info": 3, "type": "user"}',
    ]
    for number, content in enumerate(bad):
        path = WRITE[name](home, f"{B[:7]}{number}{B[8:]}", f"/w/bad{number}", "bad")
        path.write_bytes(content)
    outside = tmp_path / "secret.jsonl"
    outside.write_bytes(good.read_bytes())
    path = WRITE[name](home, C, "/w/link", "link")
    path.unlink()
    path.symlink_to(outside)
    fifo = WRITE[name](home, f"{C[:-1]}9", "/w/fifo", "fifo")
    fifo.unlink()
    os.mkfifo(fifo)
    ids = [session.session_id for session in found(name, home)]
    assert A in ids and C not in ids and all(len(id) == 36 for id in ids)
    assert all(session.title in ("good", "bad", None) for session in found(name, home))


def test_only_the_head_of_a_file_is_read(home: Path) -> None:
    """Then nobody has counted the turns."""
    path = claude(home, A, "/w", "the first words")
    with path.open("a") as file:
        file.write((json.dumps({"type": "progress", "data": "z" * 1000}) + "\n") * (WHOLE // 1000))
        file.write(json.dumps({"type": "user", "message": {"content": "later"}}) + "\n")
    (session,) = found("claude", home)
    assert (session.title, session.turns) == ("the first words", None)


def test_where_the_cli_says_that_it_keeps_them(home: Path, tmp_path: Path) -> None:
    """The variables that move its directory move ours."""
    for name, variable in (
        ("claude", "CLAUDE_CONFIG_DIR"),
        ("codex", "CODEX_HOME"),
        ("grok", "GROK_HOME"),
    ):
        WRITE[name](home, A, "/w", "x")
        assert found(name, tmp_path, **{variable: str(home / f".{name}")})
        assert not found(name, home, **{variable: str(tmp_path / "none")})


def test_an_agents_own_conversations_are_not_the_users(home: Path) -> None:
    """Subagents keep theirs beside the sessions."""
    lines(home / ".claude/projects/-w/agent-1234.jsonl", {"type": "user"})
    lines(home / f".claude/projects/-w/{A}/subagents/{B}.jsonl", {"type": "user"})
    path = codex(home, A, "/w", "x")
    own = path.read_text().replace('"thread_source": "user"', '"thread_source": "subagent"')
    path.write_text(own)
    path = gemini(home, A, "/w", "x")
    path.write_text(path.read_text().replace('"kind": "main"', '"kind": "subagent"'))
    assert [found(name, home) for name in ("claude", "codex", "gemini")] == [[], [], []]


def test_a_gemini_session_of_an_older_version(home: Path) -> None:
    """One JSON object."""
    chats = gemini(home, A, "/w/p", "x").parent
    old = {"sessionId": B, "messages": [{"type": "user", "content": "old words"}]}
    (chats / "session-2025-01-01T00-00-0a0b0c0d.json").write_text(json.dumps(old, indent=2))
    titles = {session.session_id: session.title for session in found("gemini", home)}
    assert titles == {A: "x", B: "old words"}


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("  two\n\n words ", "two words"),
        ("<instructions>\nbe brief\n</instructions>\n\nwords", "words"),
        ("<user_query>\nwords\n</user_query>", "words"),
        ("<command-name>/clear</command-name>", None),
        ("Earlier …\n</transcript>\n\nThe user now says:\n\nwords", "words"),
        ("\x1b]52;c;QUJD\x07\x1b[2J\x08", None),
        ("\u202ereversed", "reversed"),
        ("x" * 100, "x" * 79 + "…"),
        ("<b>bold</b> words", "<b>bold</b> words"),
        ("", None),
    ],
)
def test_titles(text: str, title: str | None) -> None:
    """The person's own words, on one line that steers nothing."""
    assert title_of(text) == title
