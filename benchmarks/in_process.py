"""P1, P4, P5, P7: the gateway as a library, in processes of its own (``workers.py``)."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

from .measure import Result, differences, figure, interleaved, ratios
from .place import Place

__all__ = ["first_instruction", "pass_through", "recorder"]


def first_instruction(place: Place, processes: int, rounds: int, times: int) -> list[Result]:
    """From entering execute() to the child's first instruction."""
    told = [json.loads(place.worker("start", str(rounds), str(times))) for _ in range(processes)]
    first, ours, bare = ([value for one in told for value in one[at]] for at in range(3))
    what = "entering `execute()` → the child's first instruction, ms"
    again = "the same, the first prompt of a process, ms"
    return [
        Result("P1", what, figure(bare), figure(ours), figure(ours), "ms", 5),
        Result("", again, figure(bare), figure(first), figure(first), "ms"),
        Result("", "of P1, added to a bare `Popen`", None, None, differences(ours, bare), "ms"),
    ]


def pass_through(place: Place, stream: Path, rounds: int) -> list[Result]:
    """A long stream through process, parser and recorder, and what memory that takes."""
    added: list[dict[str, float]] = []
    added_off: list[dict[str, float]] = []

    def bare() -> list[float]:
        return [json.loads(place.worker("stream", "bare", str(stream)))["seconds"]]

    def ours(**env: str) -> list[float]:
        told = json.loads(place.worker("stream", "gateway", str(stream), **env))
        (added_off if env else added).append(told)
        return [told["seconds"]]

    off = partial(ours, LLM_GATEWAY_LOGS_DB="none")
    floor, on, without = interleaved(rounds, bare, ours, off)
    size = f"{stream.stat().st_size / 1e6:.0f} MB"
    return [
        _throughput("P4", f"{size} through process, parser, recorder", floor, on, 0.8),
        _throughput("", "the same, recorder off", floor, without, None),
        _added("P5", "memory added meanwhile", [one["added"] for one in added], 15),
        _added("", "of that, before the answer is written down", [one["passing"] for one in added]),
        _added("", "memory added, recorder off", [one["added"] for one in added_off]),
    ]


def _added(id: str, what: str, rounds: list[float], target: float | None = None) -> Result:
    return Result(id, what, None, None, figure(rounds), "MB", target)


def _throughput(
    id: str, what: str, floor: list[float], ours: list[float], target: float | None
) -> Result:
    ratio = ratios(floor, ours)
    return Result(id, f"{what}, s", figure(floor), figure(ours), ratio, "×", target, at_least=True)


def recorder(place: Place, stream: Path, rounds: int, times: int) -> list[Result]:
    """What the recorder takes of an event, and of a run."""
    told = place.worker("recorder", str(stream), str(rounds), str(times))
    event, run = json.loads(told)
    return [
        Result("P7", "recorder, per event", None, None, figure(event), "µs", 20),
        Result("P7", "recorder, per run", None, None, figure(run), "ms", 5),
    ]
