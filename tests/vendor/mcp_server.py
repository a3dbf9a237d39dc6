"""A tiny MCP server on standard input and output; it leaves a marker for all that it does.

Arguments: a folder for the markers and a name, which becomes part of each marker's name.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

_TOOLS = [
    {
        "name": name,
        "description": "A tool of the tests.",
        "inputSchema": {"type": "object", "properties": {}},
        "annotations": {"readOnlyHint": name == "hinted_touch"},
    }
    for name in ("plain_touch", "hinted_touch")
]


def _result(message: dict[str, Any], mark: Path) -> dict[str, Any]:
    method = message["method"]
    if method == "initialize":
        return {
            "protocolVersion": message["params"]["protocolVersion"],
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "mock", "version": "1"},
        }
    if method == "tools/list":
        return {"tools": _TOOLS}
    if method == "tools/call":
        Path(f"{mark}_{message['params']['name']}").touch()
        return {"content": [{"type": "text", "text": "touched"}]}
    return {}


def main() -> None:
    """Serve until standard input ends."""
    mark = Path(sys.argv[1]) / sys.argv[2]
    mark.touch()
    for line in sys.stdin:
        message = json.loads(line)
        if "id" in message and "method" in message:
            answer = {"jsonrpc": "2.0", "id": message["id"], "result": _result(message, mark)}
            print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
