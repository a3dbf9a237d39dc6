"""A vendor's CLI that does what a scenario says.

Copied on PATH under a vendor's name (`fakes.FakeCli` does it); it finds everything beside itself:
``<name>.scenario.json`` is a list of scenarios, the n-th call follows the n-th of them and later
calls follow the last. What it got goes to ``calls/<name>-NNN.json``. A scenario is an object:

    steps      list of steps, see `STEPS`; every step is an object with one key
    stdin      "read" (default: to the end, before the first step), "never"
    exit       exit code; default 0
    ignore     names of signals that are ignored, e.g. ["SIGINT", "SIGTERM"]
    on_signal  {"SIGINT": {"steps": […], "exit": 0}}: what to do instead of dying
    sessions   true: keep sessions as claude does, so that an unknown --resume fails

Texts may hold $SESSION (the id from --session-id, else --resume), $CALL, $PROMPT (JSON-escaped).
Imports are few and late: the interpreter's start is a part of every test's time.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time

TYPE_CHECKING = False  # importing typing would double this program's start
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any

HERE = os.path.dirname(os.path.abspath(__file__))
NAME = os.path.basename(__file__)
CALLS = os.path.join(HERE, "calls")
SESSIONS = os.path.join(HERE, "sessions")
call: dict[str, Any] = {}


def main() -> None:
    number = open_call()
    scenario = chosen(number)
    install_signals(scenario)
    if scenario.get("stdin", "read") == "read":
        data = sys.stdin.buffer.read()
        call["stdin"] = data.decode("utf-8", "surrogateescape")
        save_call()
    if scenario.get("sessions"):
        keep_sessions()
    end(scenario)


def told_crash() -> None:
    import traceback

    with open(call.get("path", os.path.join(CALLS, NAME)).replace(".json", ".crash"), "w") as file:
        traceback.print_exc(file=file)
    os._exit(70)


def open_call() -> int:
    os.makedirs(CALLS, exist_ok=True)
    number = 0
    while True:
        number += 1
        path = os.path.join(CALLS, f"{NAME}-{number:03}.json")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL, 0o600))
            break
        except FileExistsError:
            continue
    call.update(path=path, number=number, pid=os.getpid(), argv=sys.argv[1:], began=time.time())
    call.update(env=dict(os.environ), cwd=os.getcwd(), stdin=None, signals=[])
    heard = (signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP)
    call["ignored"] = [s.name for s in heard if signal.getsignal(s) is signal.SIG_IGN]
    call["files"] = {word: told(word) for word in sys.argv[1:] if os.path.isfile(word)}
    save_call()
    return number


def told(path: str) -> dict[str, object]:
    """A file that was named in argv: what is in it and who may read it, while it is there."""
    with open(path, "rb") as file:
        data = file.read(1 << 20)
    return {"text": data.decode("utf-8", "surrogateescape"), "mode": os.stat(path).st_mode & 0o777}


def save_call() -> None:
    temporary = f"{call['path']}.{len(call['signals'])}.new"
    with open(temporary, "w", encoding="utf-8", errors="surrogateescape") as file:
        json.dump(call, file, ensure_ascii=False)
    os.replace(temporary, call["path"])


def chosen(number: int) -> dict[str, Any]:
    with open(os.path.join(HERE, f"{NAME}.scenario.json"), encoding="utf-8") as file:
        scenarios: list[dict[str, Any]] = json.load(file)
    return scenarios[min(number, len(scenarios)) - 1]


def value_of(flag: str) -> str | None:
    argv = sys.argv
    for at, word in enumerate(argv):
        if word == flag and at + 1 < len(argv):
            return argv[at + 1]
    return None


def session_id() -> str:
    return value_of("--session-id") or value_of("--resume") or "no-session"


def keep_sessions() -> None:
    os.makedirs(SESSIONS, exist_ok=True)
    old, new = value_of("--resume"), value_of("--session-id")
    if old and not os.path.exists(os.path.join(SESSIONS, old)):
        fail(f"No conversation found with session ID: {old}")
    if new and os.path.exists(os.path.join(SESSIONS, new)):
        fail(f"Error: Session ID {new} is already in use.")
    open(os.path.join(SESSIONS, session_id()), "a").close()
    store = os.path.join(os.environ.get("CLAUDE_CONFIG_DIR", HERE), "projects", "of-the-fake")
    os.makedirs(store, exist_ok=True)
    with open(os.path.join(store, f"{session_id()}.jsonl"), "a") as file:
        said = {"type": "user", "message": {"content": f"turn {call['number']}"}}
        file.write(json.dumps({**said, "cwd": call["cwd"]}) + "\n")


def fail(text: str) -> None:
    sys.stderr.write(text + "\n")
    sys.stderr.flush()
    os._exit(1)


def install_signals(scenario: dict[str, Any]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    for name in scenario.get("ignore", ()):
        signal.signal(getattr(signal, name), note_signal)
    for name, then in scenario.get("on_signal", {}).items():
        signal.signal(getattr(signal, name), follower(then))


def note_signal(number: int, _frame: FrameType | None) -> None:
    call["signals"].append(signal.Signals(number).name)
    save_call()


def follower(then: dict[str, Any]) -> Callable[[int, FrameType | None], None]:
    def follow(number: int, frame: FrameType | None) -> None:
        note_signal(number, frame)
        end(then)

    return follow


def end(scenario: dict[str, Any]) -> None:
    for step in scenario.get("steps", ()):
        ((word, detail),) = step.items()
        STEPS[word](detail)
    call["ended"] = time.time()
    save_call()
    sys.stdout.flush() if not closed else None
    os._exit(scenario.get("exit", 0))


def filled(text: str) -> str:
    if "$" not in text:
        return text
    text = text.replace("$SESSION", session_id()).replace("$CALL", str(call["number"]))
    return text.replace("$PROMPT", json.dumps(prompt())[1:-1]) if "$PROMPT" in text else text


def prompt() -> str:
    """The text that claude would send to its model."""
    try:
        blocks = json.loads(call["stdin"])["message"]["content"]
    except (ValueError, TypeError, KeyError):
        return call["stdin"] or ""
    return "\n".join(b["text"] for b in blocks if b["type"] == "text")


closed: list[bool] = []


def write(fd: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]


def say_line(data: object) -> None:
    """One JSON object as a line on stdout."""
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False)
    write(1, filled(text).encode("utf-8", "surrogatepass") + b"\n")


def say_bytes(text: str) -> None:
    """Bytes on stdout, written as latin-1 in the scenario."""
    write(1, text.encode("latin-1"))


def say_stderr(text: str) -> None:
    """A line on stderr."""
    write(2, filled(text).encode() + b"\n")


def flood_stderr(megabytes: float) -> None:
    """That many megabytes on stderr, in lines."""
    line = b"x" * 99 + b"\n"
    for _ in range(int(megabytes * 10)):
        write(2, line * 1000)


def flood_text(detail: dict[str, Any]) -> None:
    """The line ``detail["line"]`` on stdout, ``detail["times"]`` times; $N in it is its number."""
    line = filled(json.dumps(detail["line"])).encode() + b"\n"
    for number in range(detail["times"]):
        write(1, line.replace(b"$N", b"%08d" % number))


def flood_bytes(detail: dict[str, Any]) -> None:
    """``detail["megabytes"]`` of ``detail["text"]`` over and over on stdout."""
    text = detail["text"].encode("latin-1")
    for _ in range(detail["megabytes"]):
        write(1, text * (1_000_000 // len(text)))


def replay(detail: dict[str, Any]) -> None:
    """A recording, with its session id replaced by ours: {"file": …, "delay": seconds a line}."""
    with open(detail["file"], "rb") as file:
        data = file.read()
    if recorded := detail.get("session"):
        data = data.replace(recorded.encode(), session_id().encode())
    for line in data.splitlines(keepends=True):
        write(1, line)
        time.sleep(detail.get("delay", 0))


def wait_for(path: str) -> None:
    """Wait until a file exists."""
    while not os.path.exists(path):
        time.sleep(0.01)


def touch(path: str) -> None:
    """Make a file, to tell the test how far this got."""
    open(path, "a").close()


def hang(_: object) -> None:
    """Say nothing more until stopped."""
    while True:
        time.sleep(60)


def fds(_: object) -> None:
    """Note which descriptors are open and whether this process leads its session."""
    names = os.listdir("/proc/self/fd")
    opened = sorted(int(n) for n in names if os.path.exists(f"/proc/self/fd/{n}"))
    call["seen"] = {"fds": opened, "leads": os.getsid(0) == os.getpid()}


def close_stdout(_: object) -> None:
    """Close stdout and stay alive."""
    closed.append(True)
    os.close(1)


def grandchild(detail: dict[str, Any]) -> None:
    """A process below this one; its pid goes to ``calls/grandchild-NNN``.

    setsid: in a session of its own. orphan: its parent is gone at once. bare: without environment,
    so that no mark in it gives it away. pipe: it keeps our stdout and stderr open.
    """
    middle = os.fork()
    if middle:
        if detail.get("orphan"):
            os.waitpid(middle, 0)
        wait_for(os.path.join(CALLS, f"grandchild-{call['number']:03}"))
        return
    if detail.get("orphan") and os.fork():
        os._exit(0)
    if detail.get("setsid"):
        os.setsid()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    if not detail.get("pipe"):
        nowhere = os.open(os.devnull, os.O_RDWR)
        os.dup2(nowhere, 1)
        os.dup2(nowhere, 2)
    path = os.path.join(CALLS, f"grandchild-{call['number']:03}")
    with open(f"{path}.new", "w") as file:
        file.write(str(os.getpid()))
    os.rename(f"{path}.new", path)
    env = {} if detail.get("bare") else dict(os.environ)
    os.execve("/bin/sleep", ["sleep", str(detail.get("seconds", 60))], env)


def zombie(_: object) -> None:
    """A child that has ended and is not waited for."""
    if not os.fork():
        os._exit(0)


STEPS: dict[str, Callable[[Any], None]] = {
    "line": say_line,
    "bytes": say_bytes,
    "stderr": say_stderr,
    "flood_stderr": flood_stderr,
    "flood_text": flood_text,
    "flood_bytes": flood_bytes,
    "replay": replay,
    "sleep": time.sleep,
    "wait_for": wait_for,
    "touch": touch,
    "hang": hang,
    "close_stdout": close_stdout,
    "fds": fds,
    "grandchild": grandchild,
    "zombie": zombie,
}

if __name__ == "__main__":
    try:
        main()
    except BrokenPipeError:
        os._exit(141)
    except Exception:
        told_crash()
