"""What differs between the vendors in the scenarios that all of them go through."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from runner import MockHandle

ToolLine = Callable[[Path], str]
PNG = bytes.fromhex(
    "89504e470d0a1a0a0000000d4948445200000010000000100802000000909168360000001649444154789c63"
    "6850702009318c6a18d5307c3500005729e001512a52c70000000049454e44ae426082"
)


@dataclass(frozen=True)
class Vendor:
    """One vendor in the scenarios.

    :param path: what the model requests' paths contain. :param read: the tool line that reads a
        file. :param write: the tool line that writes one. :param texts: returns the texts of the
        newest user message of a request body. :param answers: whether a request is for an answer,
        and not one that the CLI makes for itself. :param lacks: scenario → why it is left out.
    :param differs: error order → the category that it has here, and why. :param trust: whether
        the user's widened configuration trusts the folder; where not, the reason is beside it.
    :param early: the CLI names its session before the model has said anything.
    """

    name: str
    path: str
    read: ToolLine
    write: ToolLine
    texts: Callable[[Mapping[str, Any]], str]
    system: Callable[[Mapping[str, Any]], str]
    instructions: str
    answers: Callable[[Mapping[str, Any]], bool] = lambda body: True
    lacks: Mapping[str, str] = field(default_factory=dict)
    differs: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    trust: bool = True
    early: bool = True

    def asked(self, mock: MockHandle) -> list[dict[str, Any]]:
        """Return the bodies of the requests for an answer, oldest first."""
        return [body for body in mock.bodies(self.path) if self.answers(body)]

    @property
    def model(self) -> str:
        return f"gateway-{self.name}"


def _tool(name: str, arguments: Mapping[str, Any]) -> str:
    return f"MOCK:TOOL={name} {json.dumps(arguments)}\n"


def _claude_texts(body: Mapping[str, Any]) -> str:
    users = [m for m in body["messages"] if m["role"] == "user"]
    content = users[-1]["content"]
    blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
    return "".join(block["text"] for block in blocks if block["type"] == "text")


def _codex_call(code: str) -> str:
    return _tool("exec", {"input": f"text(await tools.{code})"})


def _codex_shell(command: str) -> str:
    return _codex_call(f"exec_command({json.dumps({'cmd': command})})")


def _codex_patch(path: Path) -> str:
    patch = f"*** Begin Patch\n*** Add File: {path}\n+written\n*** End Patch\n"
    return _codex_call(f"apply_patch({json.dumps(patch)})")


def _codex_texts(body: Mapping[str, Any]) -> str:
    users = [item for item in body["input"] if item.get("role") == "user"]
    return "".join(part.get("text", "") for part in users[-1]["content"])


def _codex_system(body: Mapping[str, Any]) -> str:
    return json.dumps([item for item in body["input"] if item.get("role") == "developer"])


def _grok_texts(body: Mapping[str, Any]) -> str:
    content = [item for item in body["input"] if item.get("role") == "user"][-1]["content"]
    return content if isinstance(content, str) else "".join(p.get("text", "") for p in content)


VENDORS = {
    vendor.name: vendor
    for vendor in (
        Vendor(
            name="claude",
            path="/v1/messages",
            read=lambda path: _tool("Read", {"file_path": str(path)}),
            write=lambda path: _tool("Write", {"file_path": str(path), "content": "written\n"}),
            texts=_claude_texts,
            system=lambda body: json.dumps(body.get("system")),
            instructions="CLAUDE.md",
        ),
        Vendor(
            name="codex",
            path="/openai/v1/responses",
            read=lambda path: _codex_shell(f"cat {path}"),
            write=_codex_patch,
            texts=_codex_texts,
            system=_codex_system,
            instructions="AGENTS.md",
            lacks={
                "ctrl_c": "codex prints no text before a message is whole",
            },
            differs={"MOCK:REFUSE": ("empty_reply", "codex shows a refusal as an empty turn")},
        ),
        Vendor(
            name="gemini",
            path="streamGenerateContent",
            read=lambda path: _tool("read_file", {"file_path": str(path)}),
            write=lambda path: _tool("write_file", {"file_path": str(path), "content": "written"}),
            texts=lambda body: "".join(p.get("text", "") for p in body["contents"][-1]["parts"]),
            system=lambda body: json.dumps([body.get("systemInstruction"), body["contents"]]),
            instructions="GEMINI.md",
            lacks={
                "dropped_stream_is_said_once": "gemini ends with a stream that broke",
                "second_reply": "gemini has no fork at an answer; tests/vendor/test_gemini_real.py",
                "MOCK:REFUSE": "gemini does not tell why an answer ended",
                "MOCK:MAXTOK": "gemini does not tell why an answer ended",
                "MOCK:STATUS=529": "not a status of Google's API",
            },
        ),
        Vendor(
            name="grok",
            path="/responses",
            read=lambda path: _tool("read_file", {"target_file": str(path)}),
            write=lambda path: _tool("write", {"file_path": str(path), "content": "written\n"}),
            texts=_grok_texts,
            system=lambda body: json.dumps(body["input"]),
            instructions="AGENTS.md",
            answers=lambda body: "session title" not in json.dumps(body["input"][0]).lower(),
            lacks={
                "prompt_is_data[@/etc/hostname]": "grok opens @paths; the gateway refuses this one",
                "MOCK:REFUSE": "grok takes a refusal for a lost answer and asks again",
                "image": "grok opens an attachment with its own tool; test_grok_real.py",
            },
            trust=False,  # a folder that the user trusted is refused; test_grok_real.py
            early=False,
        ),
    )
}
