"""``python -m llm_gateway.worker JOB``: runs one job that waits for it, and ends.

It has a process session of its own, nobody's terminal and nobody's pipes, and imports neither llm
nor any provider but the job's own: the machine may have a hundred of these.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress

from .errors import GatewayError
from .foreground import ends_at_once, signals_end
from .gateway import work

__all__ = ["main"]


def main(argv: list[str]) -> int:
    """Run the job; how it ended is in the recorder, and here 0, 1 or 130."""
    if len(argv) != 1:
        sys.stderr.write("usage: python -m llm_gateway.worker JOB\n")
        return 2
    ends_at_once()
    _hear_signals()
    run = work(argv[0])
    try:
        with signals_end(run.close):
            for _ in run:
                pass
    except GatewayError as error:
        with suppress(OSError):
            sys.stderr.write(f"{argv[0]}: {error}\n")
        return 1
    except KeyboardInterrupt:  # what ran has been ended
        return 130
    return 0


def _hear_signals() -> None:
    """A shell lets what it starts in the background ignore these, and so would the CLI's tools."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
