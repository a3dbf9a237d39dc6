"""The packaged demo CLI: the smallest complete provider, and one that needs no account."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from typing import Any

from .. import errors
from ..errors import GatewayError
from ..events import Event, Usage
from ..records import record
from ..request import Access, Invocation, Request
from .base import (
    SHARED_OPTIONS,
    Launch,
    Level,
    Provider,
    attached_files,
    private_file,
    quoted_prompt,
)
from .parsing import Exit, JsonLines
from .upkeep import Upkeep

__all__ = ["Demo"]


class Demo(Provider):
    name = "demo"
    title = "The demo CLI"
    command = "demo"
    install = "llm install llm-gateway"
    login = "nothing to do"
    levels = {
        Access.READ: Level(("--access", "read"), "reads files of the workspace"),
        Access.EDIT: Level(("--access", "edit"), "also writes files in the workspace"),
        Access.FULL: Level(("--access", "full"), "the same as edit"),
    }
    options = SHARED_OPTIONS
    upkeep = Upkeep(version=("-I", "-m", "llm_gateway.demo_cli", "--version"))
    workspace_tools = frozenset({"read"})
    notes = {
        "reasoning": "shown",
        "system prompt": "put before the answer",
        "schema": "native",
        "usage": "words",
        "stop reason": "told",
        "own retries": "none",
        "MCP servers": "none",
    }
    attachment_types = frozenset({"image/png", "image/jpeg", "image/gif", "image/webp"})

    def find_executable(self, environ: Mapping[str, str], override: str | None) -> str | None:
        return super().find_executable(environ, override) if override else sys.executable

    def plan(self, request: Request, launch: Launch) -> Invocation:
        # -I: nothing that lies in the workspace may be imported in place of the demo.
        own = launch.executable == sys.executable
        module = ("-I", "-m", "llm_gateway.demo_cli") if own else ()
        argv = [launch.executable, *module, "--home", str(launch.state / "demo")]
        argv += self.levels[launch.access].argv
        session = launch.session
        if session.session_id:
            argv += ["--resume", session.session_id]
        if session.kind == "fork":
            argv += ["--fork"]
        if session.new_id:
            argv += ["--session-id", session.new_id]
        if request.options.model:
            argv += ["--model", request.options.model]
        if request.system:
            argv += ["--system", request.system]
        if request.schema is not None:
            schema = private_file(launch.files, "schema.json", json.dumps(request.schema))
            argv += ["--schema", str(schema)]
        for image in attached_files(request, launch):
            argv += ["--image", str(image)]
        prompt = quoted_prompt(request.prompt, session.quoted)
        return Invocation(
            tuple(argv), prompt.encode(), launch.env, launch.cwd, launch.access, session
        )

    def parser(self, request: Request, invocation: Invocation) -> DemoParser:
        return DemoParser()


@record
class DemoParser(JsonLines):
    title = Demo.title
    error: GatewayError | None = None

    def event(self, data: Mapping[str, Any], out: list[Event]) -> None:
        kind = data["type"]
        if kind == "session":
            out.append(self.begin(data["session"], data["model"], data["version"]))
        elif kind == "text":
            out.append(self.say(data["text"]))
        elif kind == "thinking":
            out.append(self.think(data["text"]))
        elif kind == "tool":
            self.end_message()
            out.append(self.call(data["id"], data["name"], data["arguments"]))
        elif kind == "tool_result":
            refused, failed = bool(data.get("refused")), bool(data.get("error"))
            out.append(self.result(data["id"], data["output"], is_error=failed, refused=refused))
        elif kind == "error":
            self.error = _error(data["category"], data["message"])
        elif kind == "done":
            self._done(data, out)

    def _done(self, data: Mapping[str, Any], out: list[Event]) -> None:
        self.ended, self.stop_reason = True, data["stop_reason"]
        usage = data["usage"]
        self.usage = Usage(
            usage["input"], usage["output"], cache_read=usage["cached"], cost_usd=0.0
        )
        self.usage.cost_basis = "reported"
        out.append(self.usage)

    def failure(self, exit: Exit) -> GatewayError | None:
        return self.error


def _error(category: str, message: str) -> GatewayError:
    kinds = [getattr(errors, name) for name in errors.__all__]
    kind = next((k for k in kinds if k.category == category and k is not GatewayError), None)
    return (kind or errors.CliError)(f"The demo CLI failed: {message}.")
