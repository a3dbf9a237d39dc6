"""A tiny coding CLI that needs no account: it echoes, counts and keeps sessions.

Run as ``python -m llm_gateway.demo_cli``, with the prompt on stdin and JSON lines on stdout. The
same prompt in the same session state gives the same answer. Lines of the prompt that begin with
``demo:`` tell it what to do besides:

    demo: slow 0.2          seconds between words
    demo: words 50          answer with that many words
    demo: think             think before answering
    demo: read FILE         use a tool that reads a file of the workspace
    demo: write FILE TEXT   use a tool that writes one; refused below access edit
    demo: say TEXT          answer with exactly that
    demo: fail CATEGORY     fail as rate_limited, overloaded, auth, network, model_not_found, ...
    demo: hang              say nothing more until stopped
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NoReturn

VERSION = "1.0"
MODEL = "demo-1"


def main(argv: list[str] | None = None) -> None:
    """Answer one prompt."""
    args = _arguments(argv)
    prompt = sys.stdin.buffer.read().decode("utf-8", "replace")
    session = _open_session(args)
    _print("session", session=session["id"], model=args.model or MODEL, version=VERSION)
    answer = _answer(prompt, session, args)
    session["turns"].append({"prompt": prompt, "answer": answer})
    try:
        _save(args.home, session)
    except OSError as error:
        _fail("cli_error", f"the session cannot be kept: {error}")
    _print("done", stop_reason="end_turn", usage=_usage(prompt, session, answer))


def _arguments(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="demo", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--version", action="version", version=f"demo {VERSION}")
    parser.add_argument("--home", type=Path, required=True, help="where sessions are kept")
    parser.add_argument("--access", choices=["read", "edit", "full"], default="read")
    parser.add_argument("--session-id", help="id of the new session")
    parser.add_argument("--resume", help="id of the session to go on with")
    parser.add_argument("--fork", action="store_true", help="go on in a copy of it")
    parser.add_argument("--model")
    parser.add_argument("--system", help="text put before the answer")
    parser.add_argument("--schema", type=Path, help="answer with JSON that fits it")
    parser.add_argument("--image", type=Path, action="append", default=[])
    return parser.parse_args(argv)


def _open_session(args: argparse.Namespace) -> dict[str, Any]:
    if not args.resume:
        return {"id": args.session_id or str(uuid.uuid4()), "turns": []}
    try:
        session: dict[str, Any] = json.loads((args.home / f"{args.resume}.json").read_text())
    except OSError:
        _fail("session_lost", f"no session {args.resume}")
    if args.fork:
        session["id"] = args.session_id or str(uuid.uuid4())
    return session


def _answer(prompt: str, session: dict[str, Any], args: argparse.Namespace) -> str:
    orders = [line[5:].strip() for line in prompt.splitlines() if line.startswith("demo:")]
    spoken = "\n".join(line for line in prompt.splitlines() if not line.startswith("demo:"))
    text, pause = _default_answer(spoken, session, args), 0.0
    for order in orders:
        word, _, rest = order.partition(" ")
        if word == "slow":
            pause = _number(order, rest or "0.1")
        elif word == "words":
            text = " ".join(f"word{n}" for n in range(1, int(_number(order, rest)) + 1))
        elif word == "say":
            text = rest
        else:
            _obey(word, rest, args)
    for piece in _pieces(text):
        _print("text", text=piece)
        time.sleep(pause)
    return text


def _number(order: str, text: str) -> float:
    try:
        return float(text)
    except ValueError:
        _fail("invalid_input", f"{order!r} needs a number")


def _default_answer(spoken: str, session: dict[str, Any], args: argparse.Namespace) -> str:
    if args.schema:
        return json.dumps(_example(json.loads(args.schema.read_text())))
    number = len(session["turns"]) + 1
    words = len(spoken.split())
    parts = [f"You said: {spoken.strip()}"]
    if args.system:
        parts.insert(0, f"[{args.system}]")
    parts += [f"Image: {p.name}, {p.stat().st_size} bytes." for p in args.image]
    parts.append(f"(turn {number} of this session, {words} word{'s' * (words != 1)})")
    return "\n".join(parts)


def _obey(word: str, rest: str, args: argparse.Namespace) -> None:
    if word == "think":
        _print("thinking", text="Counting the words of the prompt.\n")
    elif word in ("read", "write"):
        _use_tool(word, rest, args.access)
    elif word == "fail":
        _fail(rest or "cli_error", "told to fail")
    elif word == "hang":
        while True:
            time.sleep(60)


def _use_tool(word: str, rest: str, access: str) -> None:
    name, _, text = rest.partition(" ")
    id = f"{word}-{name}"
    _print("tool", id=id, name=word, arguments={"file": name})
    path = Path(name)
    if word == "write" and access == "read":
        _print("tool_result", id=id, refused=True, output="not allowed at access read")
    elif not path.resolve().is_relative_to(Path.cwd().resolve()):
        _print("tool_result", id=id, refused=True, output="outside the workspace")
    else:
        _print("tool_result", id=id, **_file_tool(word, path, text))


def _file_tool(word: str, path: Path, text: str) -> dict[str, Any]:
    try:
        if word == "write":
            path.write_text(text)
            return {"output": f"wrote {len(text)} characters"}
        return {"output": path.read_text(errors="replace")[:2000]}
    except OSError as error:
        return {"output": str(error), "error": True}


def _pieces(text: str) -> Iterator[str]:
    start = 0
    for end, character in enumerate(text, 1):
        if character.isspace() or end == len(text):
            yield text[start:end]
            start = end


def _example(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type")
    if kind == "object":
        return {name: _example(part) for name, part in schema.get("properties", {}).items()}
    if kind == "array":
        return [_example(schema.get("items", {"type": "string"}))]
    return {"integer": 7, "number": 1.5, "boolean": True, "null": None}.get(str(kind), "demo")


def _usage(prompt: str, session: dict[str, Any], answer: str) -> dict[str, int]:
    before = sum(len(t["prompt"].split()) + len(t["answer"].split()) for t in session["turns"][:-1])
    return {"input": before + len(prompt.split()), "cached": before, "output": len(answer.split())}


def _save(home: Path, session: dict[str, Any]) -> None:
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = home / f"{session['id']}.json"
    temporary = path.with_suffix(f".{uuid.uuid4().hex}")
    temporary.touch(mode=0o600)
    temporary.write_text(json.dumps(session))
    temporary.replace(path)


def _fail(category: str, message: str) -> NoReturn:
    _print("error", category=category, message=message)
    sys.exit(1)


def _print(kind: str, **data: Any) -> None:
    print(json.dumps({"type": kind, **data}), flush=True)


if __name__ == "__main__":
    main()
