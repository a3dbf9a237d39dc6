"""Many processes at once, and prompts that nobody may keep."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from tests.fakes.claude import answer, init, message, thinks, tool
from tests.fakes.claude import ended as ended_
from tests.fakes.cli import FakeCli
from tests.harness import Llm, Recorder

ASK = ("-m", "gateway-claude")
SECRET = "the word is xyzzy"


def test_thirty_prompts_at_once(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """On no file at first: none fails, none warns, each has its own answer, session and row."""
    claude.does(answer("A: $PROMPT"))
    # llm's own database has to be there: its migrations are not made for a race.
    llm(*ASK, "-n", "first", env={"LLM_GATEWAY_LOGS_DB": "none"}).ok()
    started = [(n, llm.start(*ASK, "-n", f"p{n}")) for n in range(30)]
    for n, process in started:
        out, err = process.communicate(timeout=110)
        assert (process.returncode, out.decode(), err.decode()) == (0, f"A: p{n}\n", "")
    assert len({call.value("--session-id") for call in claude.calls}) == 31
    assert [row["status"] for row in recorder.requests] == ["completed"] * 30
    assert recorder.query("pragma integrity_check")[0][0] == "ok"
    assert len({row["job_id"] for row in recorder.requests}) == 30


def everything_below(folder: Path) -> bytes:
    return b"".join(p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file())


def test_what_is_not_logged_is_not_kept(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """-n: no prompt, answer, system prompt, thinking, tool or stderr text, but the row."""
    claude.does(
        init(),
        {"stderr": f"err {SECRET}"},
        thinks(f"think {SECRET}"),
        tool("Read", {"file_path": f"in {SECRET}"}, f"out {SECRET}"),
        message(f"answer {SECRET}"),
        ended_(f"answer {SECRET}"),
    )
    ran = llm(*ASK, "-n", "-s", f"system {SECRET}", f"prompt {SECRET}")
    assert ran.answer == f"answer {SECRET}\n"
    row = recorder.request
    assert (row["status"], row["prompt"], row["response"]) == ("completed", "", None)
    assert (row["prompt_chars"], row["input_tokens"], row["cost_usd"]) == (24, 1250, 0.002)
    assert row["session_id"] == claude.call.value("--session-id")
    assert SECRET.encode() not in everything_below(llm.folder / "gateway")


def test_logs_off_is_the_same_and_log_overrides_it(
    llm: Llm, claude: FakeCli, recorder: Recorder
) -> None:
    """``llm logs off`` holds for us too; --log turns it on for one prompt."""
    llm("logs", "off").ok()
    llm(*ASK, "not kept").ok()
    llm(*ASK, "--log", "kept").ok()
    llm("logs", "on").ok()
    llm(*ASK, "kept too").ok()
    assert [row["prompt"] for row in recorder.requests] == ["", "kept", "kept too"]
    database = sqlite3.connect(llm.folder / "llm" / "logs.db")
    assert database.execute("select count(*) from turns").fetchone() == (2,)
    database.close()


def test_a_prompt_from_python_is_kept(llm: Llm, claude: FakeCli, recorder: Recorder) -> None:
    """llm itself logs nothing of the Python API; the recorder does, without a conversation."""
    llm.asks(("gateway-claude", "from python", {"correlation_id": "mine"}))
    row = recorder.request
    assert (row["prompt"], row["response"], row["thread_id"]) == ("from python", "ok", None)
    assert row["correlation_id"] == "mine" and row["id"] != "mine"


def test_the_recorder_off_leaves_no_file(llm: Llm, claude: FakeCli) -> None:
    """Empty and ``none`` both; the answer is the same."""
    for word in ("none", ""):
        (outcome,) = llm.asks(("gateway-claude", "x", {}), env={"LLM_GATEWAY_LOGS_DB": word})
        assert outcome.answer == "ok"
    left = [p.name for p in (llm.folder / "gateway").rglob("*") if p.is_file()]
    assert not [name for name in left if name.endswith((".db", ".db-wal", ".jsonl"))]


def test_a_broken_recorder_costs_one_warning(llm: Llm, claude: FakeCli) -> None:
    """The file that a variable names is a directory; the answer arrives, exit 0."""
    ran = llm(*ASK, "x", env={"LLM_GATEWAY_LOGS_DB": str(llm.work)})
    assert ran.answer == "ok\n"
    assert len(ran.err.splitlines()) == 1 and "Traceback" not in ran.err


def test_everything_on_disk_is_private(llm: Llm, claude: FakeCli) -> None:
    """0600 and 0700 even with an open umask."""
    code = """
import os, sys
os.umask(0)
os.execv(sys.argv[1], sys.argv[1:])
"""
    llm.python(code, *llm.program(*ASK, "-s", "s", "one")).ok()
    llm.python(code, *llm.program("-c", "two")).ok()
    home = llm.folder / "gateway"
    modes = {p.relative_to(home): oct(p.stat().st_mode & 0o777) for p in [home, *home.rglob("*")]}
    wrong = {
        str(p): mode
        for p, mode in modes.items()
        if mode != ("0o700" if (home / p).is_dir() else "0o600")
    }
    wrong.pop("clis.json", None)
    assert wrong == {}


def test_what_is_known_of_the_clis_is_private(llm: Llm, claude: FakeCli) -> None:
    """It names programs of the user's; everything else in that directory is 0600."""
    llm.asks(("gateway-claude", "x", {}))
    assert oct((llm.folder / "gateway" / "clis.json").stat().st_mode & 0o777) == "0o600"
