"""P2, P3, P4: whole commands, ``llm -m gateway-claude`` beside ``llm -m floor``."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from .measure import Result, differences, figure, interleaved, ratios
from .place import FLOOR, PLUGIN, Place

__all__ = ["command", "latency", "long_answer"]

MODELS = {FLOOR: "floor", PLUGIN: "gateway-claude"}


def command(place: Place, rounds: int) -> list[Result]:
    """The whole command for a CLI that answers at once; and what other models' commands pay."""

    def run(model: str, plugins: str) -> list[float]:
        return [place.llm("-m", model, "began", plugins=plugins)]

    sides = [
        partial(run, MODELS[FLOOR], FLOOR),
        partial(run, MODELS[PLUGIN], PLUGIN),
        partial(run, MODELS[FLOOR], f"{FLOOR},{PLUGIN}"),
    ]
    for side in sides:
        side()
    floor, ours, beside = interleaved(rounds, *sides)
    what, installed = "a whole `llm -m …` command, ms", "`llm -m floor`, gateway installed, ms"
    over, aside = differences(ours, floor), differences(beside, floor)
    return [
        Result("P2", what, figure(floor), figure(ours), over, "ms", 15),
        Result("", installed, figure(floor), figure(beside), aside, "ms"),
    ]


def latency(place: Place, rounds: int, ticks: int) -> list[Result]:
    """From the CLI's write to the byte on stdout, for text that comes piece by piece."""
    waits: dict[str, list[list[float]]] = {plugin: [] for plugin in MODELS}

    def run(plugin: str) -> list[float]:
        waits[plugin].append(sorted(_waits(place, plugin, ticks)))
        return waits[plugin][-1]

    interleaved(rounds, partial(run, FLOOR), partial(run, PLUGIN))
    return [
        _percentile(waits, 50, 1.0),
        _percentile(waits, 99, 10.0),
    ]


def _percentile(waits: dict[str, list[list[float]]], percent: int, target: float) -> Result:
    floor, ours = (
        [statistics.quantiles(one, n=100)[percent - 1] for one in waits[plugin]]
        for plugin in (FLOOR, PLUGIN)
    )
    what = f"from the CLI's write to our stdout, p{percent}, ms"
    over = differences(ours, floor)
    return Result("P3", what, figure(floor), figure(ours), over, "ms", target)


def _waits(place: Place, plugin: str, ticks: int) -> list[float]:
    """Milliseconds that each piece took; its text is the time at which it was sent."""
    argv = [str(Path(sys.executable).with_name("llm")), "-m", MODELS[plugin], f"tick {ticks}"]
    waits, rest = [], b""
    with subprocess.Popen(
        argv, env=place.env(plugin), cwd=place.work, stdin=subprocess.DEVNULL, stdout=-1
    ) as child:
        assert child.stdout
        while data := os.read(child.stdout.fileno(), 65536):
            now = time.time()
            *lines, rest = (rest + data).split(b"\n")
            waits += [(now - float(line)) * 1000 for line in lines if line]
    if len(waits) != ticks:
        raise RuntimeError(f"{len(waits)} pieces of {ticks} came through {plugin}")
    return waits


def long_answer(place: Place, stream: Path, rounds: int) -> list[Result]:
    """A long stream through llm; both sides have to print the same words."""
    printed = {plugin: place.folder / f"{plugin}.txt" for plugin in MODELS}

    def run(plugin: str) -> list[float]:
        with printed[plugin].open("wb") as file:
            args = ("-m", MODELS[plugin], f"print {stream}")
            return [place.llm(*args, plugins=plugin, stdout=file.fileno()) / 1000]

    floor, ours = interleaved(rounds, partial(run, FLOOR), partial(run, PLUGIN))
    words = [path.read_text().split() for path in printed.values()]
    if words[0] != words[1]:
        raise RuntimeError("the gateway and the floor did not print the same answer")
    what = f"{stream.stat().st_size / 1e6:.0f} MB through `llm`, throughput, s"
    ratio = ratios(floor, ours)
    return [Result("P4", what, figure(floor), figure(ours), ratio, "×", 0.9, at_least=True)]
