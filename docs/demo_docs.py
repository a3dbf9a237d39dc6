"""The README's example, run for real with the demo CLI in a directory of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["transcript"]

SESSION = re.compile(r"session [0-9a-f-]{36}")

ORDER = "demo: write notes.txt hello\nWrite it down"
COMMANDS = (
    ("llm -m gateway-demo 'Hello there'", ["-m", "gateway-demo", "Hello there"]),
    ("llm -c 'And again'", ["-c", "And again"]),
    (
        "llm -m gateway-demo 'Who?' --schema 'name, age int'",
        ["-m", "gateway-demo", "Who?", "--schema", "name, age int"],
    ),
    (
        "printf 'demo: write notes.txt hello\\nWrite it down' | llm -m gateway-demo",
        ["-m", "gateway-demo", ORDER],
    ),
    (
        "printf … | llm -m gateway-demo -o access edit; cat notes.txt",
        ["-m", "gateway-demo", "-o", "access", "edit", ORDER],
    ),
    (
        "llm -m gateway-demo -o timeout 1 'demo: hang' || echo $?",
        ["-m", "gateway-demo", "-o", "timeout", "1", "demo: hang"],
    ),
)


def transcript() -> str:
    """Run the commands in a fresh state and return what a terminal would show."""
    with tempfile.TemporaryDirectory() as folder:
        environ = {
            **{k: v for k, v in os.environ.items() if not k.startswith("LLM_")},
            "LLM_USER_PATH": str(Path(folder) / "llm"),
            "LLM_GATEWAY_HOME": str(Path(folder) / "gateway"),
        }
        llm = str(Path(sys.executable).with_name("llm"))
        lines = ["```console"]
        for shown, argv in COMMANDS:
            done = subprocess.run(
                [llm, *argv], env=environ, cwd=folder, text=True, capture_output=True, check=False
            )
            said = [done.stdout.rstrip(), SESSION.sub("session 5f2c…", done.stderr.rstrip())]
            said += [str(done.returncode)] if done.returncode else []
            if shown.endswith("cat notes.txt"):
                said.append((Path(folder) / "notes.txt").read_text())
            lines += [f"$ {shown}", *filter(None, said), ""]
    return "\n".join([*lines[:-1], "```"])
