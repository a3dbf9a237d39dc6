"""Instruction files of the workspace, for a CLI that loads them only together with its settings.

Their text is for the model to read; nothing of them is executed. A file that is a link to
something outside the workspace is left out: it would put somebody's secrets into the prompt.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

__all__ = ["workspace_instructions", "workspace_root"]

LARGEST = 64 * 1024


def workspace_root(cwd: str) -> Path:
    """Return the top of the Git work tree that holds a directory, or the directory itself."""
    here = Path(os.path.realpath(cwd))
    return next((p for p in (here, *here.parents) if (p / ".git").exists()), here)


def workspace_instructions(cwd: str, names: tuple[str, ...], *, one: bool = False) -> str:
    """Return the instruction files from the top of the workspace down to ``cwd`` as one text.

    :param one: of each directory only the first of the names that is there.
    """
    parts = [f"# Instructions in {path}\n\n{text}" for path, text in _found(cwd, names, one)]
    return "\n\n".join(parts)


def _found(cwd: str, names: tuple[str, ...], one: bool) -> Iterator[tuple[Path, str]]:
    root, here = workspace_root(cwd), Path(os.path.realpath(cwd))
    folders = [p for p in (here, *here.parents) if p.is_relative_to(root)]
    for folder in reversed(folders):
        for name in names:
            text = _read(folder / name, root)
            if text:
                yield (folder / name).relative_to(root), text
                if one:
                    break


def _read(path: Path, root: Path) -> str:
    try:
        if not path.is_file() or not Path(os.path.realpath(path)).is_relative_to(root):
            return ""
        with path.open("rb") as file:
            return file.read(LARGEST).decode("utf-8", "replace").strip()
    except OSError:
        return ""
