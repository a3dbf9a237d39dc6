"""Asks the gateway without llm around it: in turn or at once, in one process or in many."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from typing import Any

from tests.harness import Llm

__all__ = ["CODE", "apart", "asked", "at_once", "submit"]

CODE = """
import json, os, sys, threading, time
from llm_gateway.events import Done, Notice, Text
from llm_gateway.gateway import ask, submit
from llm_gateway.ids import new_id
from llm_gateway.request import Access, Attachment, Options, Request, Turn

def request(said):
    said = dict(said)
    options = dict(said.pop("options", {}))
    if "access" in options:
        options["access"] = Access(options["access"])
    given = [Attachment(type, content=text.encode()) for type, text in said.pop("attachments", ())]
    history = tuple(Turn(*turn) for turn in said.pop("history", ()))
    said = {"provider": "claude", "prompt": "x", **said}
    return Request(id=new_id(), options=Options(**options), attachments=tuple(given),
                   history=history, **said)

def told(said):
    run, seen, notices, pieces = None, [], [], []
    try:
        run = ask(request(said))
        for event in run:
            seen.append(type(event).__name__)
            if type(event) is Notice:
                notices.append(event.text)
            elif type(event) is Text:
                pieces.append(event.text)
        last = event.reply if type(event) is Done else None
        found = {"answer": last.text, "session": last.session_id, "tokens": last.usage.output}
    except Exception as error:
        found = {"error": str(error), "category": getattr(error, "category", None)}
    kinds = [kind for n, kind in enumerate(seen) if kind not in seen[:n]]
    whose = {"outcome": run.outcome, "job": run.job_id, "id": run.request.id} if run else {}
    return {**found, **whose, "kinds": kinds, "notices": notices, "text": "".join(pieces)}

def step(said):
    if isinstance(said, list):
        found = [None] * len(said)
        def one(n):
            found[n] = told(said[n])
        threads = [threading.Thread(target=one, args=(n,)) for n in range(len(said))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return found
    if "submit" in said:
        notices = []
        try:
            claim = submit(request(said["submit"]), notices.append)
        except Exception as error:
            return {"error": str(error), "category": getattr(error, "category", None)}
        return {"job": claim.job_id, "outcome": claim.outcome, "notices": notices}
    return told(said)

print(json.dumps([step(said) for said in json.load(sys.stdin)]))
"""


def asked(llm: Llm, *steps: Any, **how: Any) -> list[Any]:
    """Ask one after another; a list among the steps is asked at once. What each was told."""
    ran = llm.python(CODE, input=json.dumps(steps), **how)
    found: list[Any] = json.loads(ran.answer)
    return found


def at_once(llm: Llm, *requests: Any, **how: Any) -> list[Any]:
    """Ask all of them at the same time."""
    found: list[Any] = asked(llm, list(requests), **how)[0]
    return found


def apart(llm: Llm, *requests: Any, meanwhile: Callable[[], object]) -> list[Any]:
    """Ask all of them at the same time, each in a process of its own."""
    asking = [llm.popen(sys.executable, "-c", CODE, stdin=subprocess.PIPE) for _ in requests]
    for process, request in zip(asking, requests, strict=True):
        assert process.stdin is not None
        process.stdin.write(json.dumps([request]).encode())
    for process in asking:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    meanwhile()
    return [json.loads(process.communicate(timeout=100)[0])[0] for process in asking]


def submit(llm: Llm, env: dict[str, str] | None = None, **request: Any) -> Any:
    """Have a worker answer a request; job and outcome, or what was wrong."""
    return asked(llm, {"submit": request}, env=env)[0]
