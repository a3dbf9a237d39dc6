"""``llm gateway browse`` as a process."""

from __future__ import annotations

import os
import signal
import stat
import urllib.error
import urllib.request
from pathlib import Path

import pytest

from tests.fakes.cli import until
from tests.harness import Llm

pytest.importorskip("datasette")


def status(address: str, **headers: str) -> int:
    """What a stranger gets."""
    try:
        with urllib.request.urlopen(
            urllib.request.Request(address, headers=headers), timeout=60
        ) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_begins_and_ends_datasette(llm: Llm, tmp_path: Path, number: signal.Signals) -> None:
    """Makes the recorder, keeps strangers out, and leaves nothing behind."""
    out = tmp_path / "out"
    with open(out, "wb") as file:
        process = llm.start("gateway", "browse", "-p", "0", "--no-open", stdout=file, stderr=file)
    until(lambda: "running on http" in out.read_text(), 90, "Datasette's start")
    base = next(x for x in out.read_text().splitlines() if x.startswith("http")).partition("/-/")[0]
    for path in ("/-/gateway/requests", "/gateway", "/gateway.json", "/-/databases.json"):
        assert status(base + path) == 403, path
    assert status(base + "/-/gateway/requests", Host="evil.example") == 403
    home = tmp_path / "gateway"
    for name in ("logs.db", "datasette-secret"):
        assert stat.S_IMODE((home / name).stat().st_mode) == 0o600, name
    secret = (home / "datasette-secret").read_text()
    assert len(secret) == 64 and secret not in Path(f"/proc/{process.pid}/cmdline").read_text()
    os.kill(process.pid, number)
    process.wait(60)
    with pytest.raises(urllib.error.URLError):
        status(base + "/-/gateway/requests")


def test_without_datasette(llm: Llm, tmp_path: Path) -> None:
    """Says what to install."""
    hidden = tmp_path / "hidden"
    (hidden / "datasette").mkdir(parents=True)
    code = (
        "import sys, importlib.util as u; find = u.find_spec;"
        "u.find_spec = lambda name, *a: None if name.startswith('datasette') else find(name, *a);"
        "from llm_gateway.commands import group; group.main(['browse'])"
    )
    ran = llm.python(code)
    assert ran.code == 1 and "llm install datasette-llm-gateway" in ran.err


def test_a_port_in_use(llm: Llm) -> None:
    """Says so instead of ending somewhere else."""
    import socket

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = llm("gateway", "browse", "--no-open", "-p", str(taken.getsockname()[1]))
    assert ran.code == 1 and "-p 0 takes a free one" in ran.err


def test_switched_off(llm: Llm) -> None:
    """Nothing to see without a recorder."""
    ran = llm("gateway", "browse", "--no-open", env={"LLM_GATEWAY_LOGS_DB": "none"})
    assert ran.code == 1 and "LLM_GATEWAY_LOGS_DB" in ran.err
