"""What an agent did, from its events: thoughts, tools with their results, notices; and the time."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from .charts import waterfall_bar
from .words import inline, milliseconds, parse_json

__all__ = ["Phase", "Step", "phases", "steps"]

_TELLING = ("file_path", "path", "command", "pattern", "query", "url", "description", "prompt")


@dataclass
class Step:
    """One thing that the agent did or that happened to it; ``kind`` is tool, thought or notice."""

    kind: str
    seq: int
    attempt: int
    t: int
    name: str = ""
    arguments: str = ""
    brief: str = ""
    output: str = ""
    output_chars: int = 0
    took: int | None = None
    is_error: bool = False
    refused: bool = False
    open: bool = False


@dataclass(frozen=True)
class Phase:
    """One span of a run; ``css`` is its colour."""

    label: str
    begin: float
    took: float
    css: str
    title: str = ""
    inner: bool = False

    def bar(self, whole: float) -> Markup:
        """The span on the line of the whole."""
        return waterfall_bar(self.begin, self.took, whole, self.css, self.label)


def steps(rows: Iterable[Any]) -> list[Step]:
    """Results go to their calls; thoughts that follow one another are one."""
    found: list[Step] = []
    calls: dict[tuple[int, str], Step] = {}
    for row in rows:
        kind = row["kind"]
        if kind == "tool_result":
            _result(row, calls, found)
        elif kind == "tool_call":
            step = _call(row)
            calls[step.attempt, str(row["tool_id"])] = step
            found.append(step)
        elif kind == "reasoning":
            _thought(row, found)
        else:
            text = row["text"] or row["notice"] or ""
            found.append(Step("notice", row["seq"], row["attempt"], row["t"], str(text)))
    return found


def _call(row: Any) -> Step:
    arguments = row["arguments"]
    known = parse_json(arguments) if isinstance(arguments, str) else None
    shown = json.dumps(known, indent=2, ensure_ascii=False) if known is not None else arguments
    return Step(
        "tool",
        row["seq"],
        row["attempt"],
        row["t"],
        str(row["name"] or "tool"),
        arguments="" if shown in (None, "{}") else str(shown),
        brief=_brief(known),
        open=True,
    )


def _brief(arguments: Any) -> str:
    """The argument that says most, on one line."""
    if not isinstance(arguments, dict):
        return ""
    for name in (*_TELLING, *arguments):
        value = arguments.get(name)
        if isinstance(value, list) and all(isinstance(part, str) for part in value):
            value = " ".join(value)
        if isinstance(value, str) and value.strip():
            return inline(value, 90)
    return ""


def _result(row: Any, calls: dict[tuple[int, str], Step], found: list[Step]) -> None:
    step = calls.get((row["attempt"], str(row["tool_id"])))
    if step is None:
        step = Step("tool", row["seq"], row["attempt"], row["t"], str(row["name"] or "tool"))
        found.append(step)
    step.output = str(row["output"] or "")
    step.output_chars = row["output_chars"] or row["chars"] or 0
    step.is_error, step.refused = bool(row["is_error"]), bool(row["refused"])
    step.took, step.open = max(0, row["t"] - step.t), False


def _thought(row: Any, found: list[Step]) -> None:
    text = str(row["text"] or "")
    if not text:
        return
    if found and found[-1].kind == "thought" and found[-1].attempt == row["attempt"]:
        found[-1].output += text
    else:
        step = Step("thought", row["seq"], row["attempt"], row["t"], output=text)
        found.append(step)
    found[-1].brief = inline(found[-1].output, 90)


def phases(
    request: Any, job: Any, attempts: Sequence[Any], texts: dict[int, tuple[int, int]],
    done: Sequence[Step], approvals: Sequence[Any], now: str,
) -> tuple[list[Phase], float]:  # fmt: skip
    """The spans of a request in milliseconds since it was asked, and the whole."""
    zero = request["datetime_utc"]
    whole = milliseconds(zero, request["finished_at"] or now) or request["duration_ms"] or 0.0
    found: list[Phase] = []
    if job is not None and request["outcome"] == "ran":
        waited = milliseconds(job["queued_at"], job["started_at"]) or 0
        if waited >= 1:
            found.append(
                Phase("Queue", milliseconds(zero, job["queued_at"]) or 0, waited, "t-wait")
            )
    for approval in approvals:
        at = max(0.0, milliseconds(zero, approval["datetime_utc"]) or 0)
        found.append(Phase(f"Approval: {inline(approval['decision'], 20)}", at, 0, "t-mark"))
    for attempt in attempts:
        found += _attempt(attempt, zero, whole, texts.get(attempt["n"]), done)
    whole = max([whole, *(phase.begin + phase.took for phase in found)])
    return found, whole


def _attempt(
    row: Any, zero: str, whole: float, text: tuple[int, int] | None, done: Sequence[Step]
) -> list[Phase]:
    begin = max(0.0, milliseconds(zero, row["started_at"]) or 0)
    took = row["duration_ms"] if row["duration_ms"] is not None else max(0.0, whole - begin)
    found = []
    if row["wait_ms"]:
        found.append(Phase("Back-off", max(0, begin - row["wait_ms"]), row["wait_ms"], "t-backoff"))
    failed = " is-failed" if row["error_category"] else ""
    label = f"Attempt {row['n']}"
    found.append(Phase(label, begin, took, f"t-attempt{failed}", inline(row["error_message"])))
    if row["first_output_ms"]:
        found.append(Phase("First output", begin, row["first_output_ms"], "t-wait", inner=True))
    for step in [one for one in done if one.kind == "tool" and one.attempt == row["n"]][:40]:
        css = "t-tool is-failed" if step.is_error or step.refused else "t-tool"
        span = step.took if step.took is not None else max(0.0, took - step.t)
        found.append(
            Phase(inline(step.name, 24), begin + step.t, span, css, step.brief, inner=True)
        )
    if text is not None:
        first, last = text
        found.append(
            Phase("Answer", begin + first, last - first, "t-text", "first to last word", inner=True)
        )
    return found
