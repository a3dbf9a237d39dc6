"""The state of a Git workspace: what changes it, what does not, and that nothing in it runs."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from llm_gateway.dedup.fingerprint import fingerprint, head

GIT = shutil.which("git", path="/usr/bin:/bin:/usr/local/bin:/opt/homebrew/bin")
pytestmark = pytest.mark.skipif(GIT is None, reason="needs git")
# Enough for a machine that is busy with other tests; what runs into it says so by a None.
BUDGET = 30.0
WHO = {
    "GIT_AUTHOR_NAME": "A",
    "GIT_AUTHOR_EMAIL": "a@example.org",
    "GIT_COMMITTER_NAME": "A",
    "GIT_COMMITTER_EMAIL": "a@example.org",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "PATH": "/usr/bin:/bin",
}


def git(folder: Path, *arguments: str, ok: bool = True) -> str:
    done = subprocess.run(
        [GIT or "git", "-c", "protocol.file.allow=always", *arguments],
        cwd=folder,
        env={**WHO, "HOME": str(folder)},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0 or not ok, done.stderr
    return done.stdout.strip()


def state(folder: Path) -> str | None:
    return fingerprint(str(folder), BUDGET)


def told(folder: Path) -> str:
    found = state(folder)
    assert found is not None and found != "-"
    return found


def runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def repository(folder: Path, *arguments: str) -> Path:
    """Make a repository with a commit: ``a`` and ``sub/b``, and ignored ``*.log``."""
    folder.mkdir(parents=True)
    git(folder, "init", "-q", "-b", "main", *arguments)
    (folder / "sub").mkdir()
    (folder / "a").write_text("one\n")
    (folder / "sub" / "b").write_text("two\n")
    (folder / ".gitignore").write_text("*.log\nbuild/\n")
    git(folder, "add", "-A")
    git(folder, "commit", "-qm", "first")
    return folder


@pytest.fixture
def repo(tmp_path: Path) -> Path:
    return repository(tmp_path / "repo")


def rewrite(path: Path, text: str) -> None:
    """Change a file and leave its size and its modification time as they were."""
    before = path.stat()
    assert len(text) == before.st_size
    path.write_text(text)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))


def committed(repo: Path) -> None:
    git(repo, "commit", "-q", "--allow-empty", "-m", "more")


def staged(repo: Path) -> None:
    (repo / "a").write_text("new\n")
    git(repo, "add", "a")


CHANGES: dict[str, Callable[[Path], object]] = {
    "an edit": lambda repo: (repo / "a").write_text("longer\n"),
    "an edit that keeps size and time": lambda repo: rewrite(repo / "a", "eno\n"),
    "an edit below": lambda repo: (repo / "sub" / "b").write_text("longer\n"),
    "a new file": lambda repo: (repo / "sub" / "new").write_text(""),
    "a new file of an odd name": lambda repo: (repo / "new\n'\"\t").write_text(""),
    "a file that is gone": lambda repo: (repo / "a").unlink(),
    "another mode": lambda repo: (repo / "a").chmod(0o755),
    "a link in its place": lambda repo: ((repo / "a").unlink(), (repo / "a").symlink_to("sub/b")),
    "a commit": committed,
    "a file made ready to commit": staged,
    "a branch of another commit": lambda repo: (
        git(repo, "checkout", "-q", "-b", "other"),
        committed(repo),
    ),
}


@pytest.mark.parametrize("change", CHANGES)
def test_a_change_is_seen(repo: Path, change: str) -> None:
    """From the top of the work tree and from a directory in it alike."""
    before, below = told(repo), told(repo / "sub")
    assert before == below
    CHANGES[change](repo)
    assert told(repo) == told(repo / "sub") != before


def test_what_was_changed_already_can_change_again(repo: Path) -> None:
    """A file that differs from the index, one that is new, one of an odd name."""
    odd = repo / "x\n\ty"
    files = (repo / "a", repo / "new", odd)
    for path in files:
        path.write_text("one more\n")
    seen = {told(repo)}
    for path in files:
        rewrite(path, "ONE MORE\n")
        seen.add(told(repo))
        path.unlink()
        seen.add(told(repo))
    assert len(seen) == 7


def test_a_name_that_is_no_text_is_a_name(repo: Path) -> None:
    """File names are bytes."""
    path = os.fsencode(repo) + b"/\xff\xfe"
    try:
        Path(os.fsdecode(path)).write_text("1")
    except OSError:
        pytest.skip("this file system has no such names")
    before = told(repo)
    Path(os.fsdecode(path)).write_text("22")
    assert told(repo) != before


@pytest.mark.parametrize("word", ["--assume-unchanged", "--skip-worktree"])
def test_a_file_that_git_was_told_not_to_look_at_is_looked_at(repo: Path, word: str) -> None:
    """People keep local changes that way, and agents read them."""
    git(repo, "update-index", word, "a")
    before = told(repo)
    (repo / "a").write_text("local\n")
    assert told(repo) != before


def test_a_change_within_the_second_of_the_commit_is_seen(repo: Path) -> None:
    """Git itself cannot tell that from the times."""
    for number in range(5):
        (repo / "a").write_text(f"{number}\n")
        git(repo, "add", "a")
        before = told(repo)
        (repo / "a").write_text(f"{number + 1}\n")
        assert told(repo) != before


def test_looking_changes_nothing(repo: Path) -> None:
    """Not the fingerprint and not one file of the repository, its index and objects included."""

    def files() -> dict[str, tuple[int, int]]:
        paths = [repo, *repo.rglob("*")]
        return {str(p): (p.lstat().st_mtime_ns, p.lstat().st_size) for p in paths}

    (repo / "a").write_text("changed\n")
    (repo / "new").write_text("new\n")
    os.utime(repo / "sub" / "b")
    before = files()
    assert told(repo) == told(repo) == told(repo / "sub")
    assert files() == before


def test_what_git_ignores_does_not_count(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the workspace's rules, the repository's own, and the user's."""
    home = Path(os.environ["HOME"])
    (home / ".gitconfig").write_text('[user]\n\tname = A\n[core]\n\texcludesFile = "~/mine"\n')
    (home / "mine").write_text("*.swp\n")
    (repo / ".git" / "info" / "exclude").write_text("private\n")
    before = told(repo)
    (repo / "build").mkdir()
    for name in ("x.log", "build/x", "private", "a.swp"):
        (repo / name).write_text("1")
    assert told(repo) == before
    (home / ".gitconfig").unlink()
    assert told(repo) != before
    (home / ".config" / "git").mkdir(parents=True)
    (home / ".config" / "git" / "ignore").write_text("*.swp\n")
    assert told(repo) == before
    monkeypatch.setenv("XDG_CONFIG_HOME", str(home / "elsewhere"))
    assert told(repo) != before


def test_of_a_directory_that_git_ignores_nothing_is_told(repo: Path) -> None:
    """Also where a whole home is a repository that ignores the projects in it, and in .git."""
    (repo / "build" / "deep").mkdir(parents=True)
    (repo / "new").mkdir()
    for folder in ("build", "build/deep", ".git", ".git/hooks"):
        assert state(repo / folder) is None, folder
    assert told(repo / "new") == told(repo)


def test_outside_git_there_is_nothing_to_tell(tmp_path: Path) -> None:
    """A directory that only looks like a repository is none."""
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / "file").mkdir()
    (tmp_path / "file" / ".git").write_text("no pointer\n")
    for folder in (tmp_path, tmp_path / "file"):
        assert state(folder) == "-"
        assert head(str(folder)) is None


@pytest.mark.parametrize("ignored", [False, True])
def test_instructions_count_wherever_they_are(tmp_path: Path, ignored: bool) -> None:
    """No tool reads them: outside Git, in an ignored file, and above the directory."""
    here = tmp_path / "here"
    here.mkdir()
    if ignored:
        git(here, "init", "-q")
        (here / ".gitignore").write_text("CLAUDE.local.md")
    seen = [state(here)]
    for file in (here / "CLAUDE.local.md", tmp_path / "GEMINI.md"):
        file.write_text("Answer in French.")
        seen.append(state(here))
        file.write_text("Answer in Greek.")
        seen.append(state(here))
    assert None not in seen and len(set(seen)) == 5


def test_without_git_nothing_is_told(repo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """But what files tell: HEAD, and that a directory is in no repository."""
    monkeypatch.setenv("PATH", str(repo.parent))
    assert state(repo) is None
    assert state(repo.parent) == "-"
    assert head(str(repo)) == git(repo, "rev-parse", "HEAD")


def test_it_takes_no_longer_than_it_may(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A Git that hangs is ended; what is left of the time decides, not whether it answers."""
    assert fingerprint(str(repo), 0.0) is None
    slow = tmp_path / "bin" / "git"
    slow.parent.mkdir()
    slow.write_text(f"#!/bin/sh\necho $$ >> {tmp_path}/pids\nexec sleep 600\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow.parent}:{os.environ['PATH']}")
    began = time.monotonic()
    assert fingerprint(str(repo), 2.0) is None
    assert time.monotonic() - began < 60
    pids = (tmp_path / "pids").read_text().split()
    assert pids and not any(runs(int(pid)) for pid in pids)


def test_a_pipe_in_the_place_of_a_file_holds_nobody(repo: Path) -> None:
    """Git would wait for ever for what it is to ignore, and so would who reads HEAD."""
    (repo / "sub" / ".gitignore").unlink(missing_ok=True)
    os.mkfifo(repo / "sub" / ".gitignore")
    assert fingerprint(str(repo), 0.5) is None
    (repo / ".git" / "HEAD").unlink()
    os.mkfifo(repo / ".git" / "HEAD")
    assert head(str(repo)) == "unknown"


def test_ten_thousand_new_files(repo: Path) -> None:
    """Each of them counts."""
    folder = repo / "many"
    folder.mkdir()
    for number in range(10_000):
        os.close(os.open(folder / str(number), os.O_CREAT | os.O_WRONLY, 0o600))
    before = told(repo)
    (folder / "7777").write_text("1")
    assert told(repo) != before


# HEAD, as its files tell it.


def test_head_is_the_commit_that_is_checked_out(repo: Path) -> None:
    """On a branch, on a branch that is packed, on none; from below as well."""
    first = git(repo, "rev-parse", "HEAD")
    assert head(str(repo)) == head(str(repo / "sub")) == first
    git(repo, "branch", "mai")
    git(repo, "pack-refs", "--all")
    assert not (repo / ".git" / "refs" / "heads" / "main").exists()
    assert head(str(repo)) == first
    committed(repo)
    second = git(repo, "rev-parse", "HEAD")
    assert head(str(repo)) == second != first
    git(repo, "checkout", "-q", "--detach", first)
    assert head(str(repo)) == first
    git(repo, "symbolic-ref", "refs/heads/alias", "refs/heads/main")
    git(repo, "symbolic-ref", "HEAD", "refs/heads/alias")
    assert head(str(repo)) == second


def test_before_the_first_commit(tmp_path: Path) -> None:
    """There is a work tree, and it has a state."""
    git(tmp_path, "init", "-q")
    assert head(str(tmp_path)) == "unborn"
    before = told(tmp_path)
    (tmp_path / "a").write_text("1")
    after = told(tmp_path)
    git(tmp_path, "add", "a")
    assert len({before, after, told(tmp_path)}) == 3


def test_a_second_work_tree_has_a_head_and_a_state_of_its_own(repo: Path) -> None:
    """What they share is read where it is shared."""
    git(repo, "worktree", "add", "-q", "-b", "side", "../side")
    side = repo.parent / "side"
    first = told(side)
    committed(side)
    git(side, "pack-refs", "--all")
    assert head(str(side)) == git(side, "rev-parse", "HEAD") != head(str(repo))
    second, here = told(side), told(repo)
    (side / "a").write_text("other\n")
    assert len({first, second, told(side)}) == 3
    assert told(repo) == here
    (repo / ".git" / "info" / "exclude").write_text("private\n")
    before = told(side)
    (side / "private").write_text("1")
    assert told(side) == before


def test_work_trees_within_a_work_tree_count(repo: Path, tmp_path: Path) -> None:
    """A submodule, one within it, and a clone that nobody added: agents read them all."""
    inner = repository(tmp_path / "inner")
    git(inner, "submodule", "--quiet", "add", str(repository(tmp_path / "deep")), "deep")
    git(inner, "commit", "-qm", "deep")
    git(repo, "submodule", "--quiet", "add", str(inner), "inner")
    git(repo, "submodule", "--quiet", "update", "--init", "--recursive")
    git(repo, "clone", "-q", str(inner), "clone")
    seen = {told(repo)}
    for path in ("inner/a", "inner/new", "inner/deep/a", "clone/a", "clone/new"):
        (repo / path).write_text("changed\n")
        seen.add(told(repo))
    committed(repo / "clone")
    seen.add(told(repo))
    assert len(seen) == 7
    assert head(str(repo / "inner")) == git(repo / "inner", "rev-parse", "HEAD")
    shutil.rmtree(repo / "inner")
    (repo / "inner").mkdir()
    assert told(repo) not in seen


def test_other_kinds_of_repository(tmp_path: Path) -> None:
    """Names of SHA-256; a sparse work tree with a sparse index."""
    long = repository(tmp_path / "long", "--object-format=sha256")
    sparse = repository(tmp_path / "sparse")
    git(sparse, "sparse-checkout", "set", "--cone", "--sparse-index", "nothing")
    assert not (sparse / "sub").exists()
    for repo in (long, sparse):
        assert head(str(repo)) == git(repo, "rev-parse", "HEAD")
        before = told(repo)
        (repo / "a").write_text("longer\n")
        assert told(repo) != before


def test_where_modes_do_not_count_they_do_not(repo: Path) -> None:
    """A file system without them shows every file with another one than the index has."""
    git(repo, "config", "core.fileMode", "false")
    seen = set()
    for _ in range(2):
        (repo / "a").chmod(0o755)
        git(repo, "update-index", "--refresh")
        seen.add(told(repo))
    assert len(seen) == 1


def test_references_in_tables_are_told_by_the_tables(repo: Path) -> None:
    """Only Git can read them, but their list changes whenever one of them does."""
    tables = repo / ".git" / "reftable"
    tables.mkdir()
    (tables / "tables.list").write_text("0x01-0x02-aa.ref\n")
    (repo / ".git" / "HEAD").write_text("ref: refs/heads/.invalid\n")
    first, before = head(str(repo)), told(repo)
    (tables / "tables.list").write_text("0x01-0x02-aa.ref\n0x03-0x03-bb.ref\n")
    assert first and head(str(repo)) not in (first, None)
    assert told(repo) != before


def test_a_head_that_leads_out_of_the_repository_leads_nowhere(repo: Path) -> None:
    """A name with ``..`` in it is no reference, and neither is what is no commit's id."""
    (repo / "secret").write_text("0" * 40)
    for text in ("ref: refs/../../secret", "ref: /etc/passwd", "ref: ../secret", "words", ""):
        (repo / ".git" / "HEAD").write_text(text)
        assert head(str(repo)) == "unknown", text


# A hostile repository. Each way to run something leaves a mark of its own.


class Trap:
    """Commands that a repository names; each leaves a file when it runs, and goes on."""

    def __init__(self, folder: Path) -> None:
        self.marks = folder / "marks"
        self.marks.mkdir(parents=True)

    def command(self, name: str, then: str = "cat") -> str:
        path = self.marks.parent / f"{name}.sh"
        path.write_text(f'#!/bin/sh\ntouch "{self.marks}/{name}"\n{then}\n')
        path.chmod(0o755)
        return str(path)

    def sprung(self) -> set[str]:
        return {path.name for path in self.marks.iterdir()}

    def reset(self) -> None:
        for path in self.marks.iterdir():
            path.unlink()


@pytest.fixture
def trap(tmp_path: Path) -> Trap:
    return Trap(tmp_path / "trap")


HOOKS = ("fsmonitor-watchman", "post-index-change", "pre-auto-gc", "reference-transaction")


def hostile(folder: Path, trap: Trap) -> Path:
    """Make a repository whose configuration names a program wherever Git takes one."""
    repo = repository(folder)
    names = ("clean", "process", "included", "worktree", "equals", "textconv")
    for name in names:
        (repo / f"x.{name}").write_text("content\n")
    git(repo, "add", "-A")
    git(repo, "commit", "-qm", "bait")
    (repo / ".gitattributes").write_text(
        "".join(f"*.{n} filter={n} diff={n}\n" for n in names[:4])
        + "*.equals filter=a=b\n*.textconv diff=textconv\n"
    )
    included, own = folder.parent / "included.cfg", repo / ".git" / "config.worktree"
    included.write_text(f'[filter "included"]\n\tclean = {trap.command("included")}\n')
    own.write_text(f'[filter "worktree"]\n\tclean = {trap.command("worktree")}\n')
    hooks = folder.parent / "hooks"
    for place in (hooks, repo / ".git" / "hooks"):
        place.mkdir(exist_ok=True)
        for hook in HOOKS:
            shutil.copy(trap.command(f"hook-{hook}"), place / hook)
    for key, value in {
        "core.fsmonitor": trap.command("fsmonitor"),
        "core.hooksPath": str(hooks),
        "core.sshCommand": trap.command("ssh"),
        "core.pager": trap.command("pager"),
        "core.editor": trap.command("editor"),
        "core.askPass": trap.command("askpass"),
        "core.gitProxy": trap.command("proxy"),
        "core.alternateRefsCommand": trap.command("alternates"),
        "core.untrackedCache": "true",
        "pager.ls-files": "true",
        "pager.diff-files": trap.command("pager-command"),
        "credential.helper": trap.command("credential", "exit 1"),
        "gpg.program": trap.command("gpg"),
        "diff.external": trap.command("external"),
        "diff.textconv.textconv": trap.command("textconv"),
        "diff.clean.command": trap.command("diff-command"),
        "filter.clean.clean": trap.command("clean"),
        "filter.clean.smudge": trap.command("smudge"),
        "filter.clean.required": "true",
        "filter.process.process": trap.command("process"),
        "filter.a=b.clean": trap.command("equals"),
        "include.path": str(included),
        "extensions.worktreeConfig": "true",
        "alias.ls-files": f"!{trap.command('alias')}",
        "alias.diff-files": f"!{trap.command('alias')}",
        "trace2.eventTarget": str(trap.marks / "trace2"),
        "extensions.partialClone": "origin",
        "remote.origin.promisor": "true",
        "remote.origin.url": f"ext::{trap.command('remote', 'exit 1')}",
        "remote.origin.uploadpack": trap.command("uploadpack"),
        "protocol.ext.allow": "always",
        "submodule.recurse": "true",
        "status.submoduleSummary": "true",
    }.items():
        git(repo, "config", key, value)
    make_racy(repo)
    trap.reset()
    return repo


def make_racy(repo: Path) -> None:
    """Make the index no younger than the files: Git then looks at content, through the filters."""
    first = min(path.stat().st_mtime_ns for path in repo.glob("x.*"))
    os.utime(repo / ".git" / "index", ns=(first, first))


def test_nothing_of_a_hostile_repository_runs(
    tmp_path: Path, trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not on a racy file, not on a changed one, not from below, not with hostile variables."""
    repo = hostile(tmp_path / "repo", trap)
    hostile_variables(monkeypatch, trap, repo)
    seen = [told(repo), told(repo / "sub")]
    (repo / "x.clean").write_text("changed\n")
    (repo / "x.process").write_text("CONTENT\n")
    (repo / "x.textconv").unlink()
    seen.append(told(repo))
    assert head(str(repo)) == git(repo, "rev-parse", "HEAD")
    assert trap.sprung() == set()
    assert seen[0] == seen[1] != seen[2]


def hostile_variables(monkeypatch: pytest.MonkeyPatch, trap: Trap, repo: Path) -> None:
    """Set what Git takes from its environment before anything else."""
    elsewhere = repository(repo.parent / "elsewhere")
    for name, value in {
        "GIT_EXTERNAL_DIFF": trap.command("env-external"),
        "GIT_PAGER": trap.command("env-pager"),
        "GIT_SSH_COMMAND": trap.command("env-ssh"),
        "GIT_ASKPASS": trap.command("env-askpass"),
        "GIT_CONFIG_COUNT": "1",
        "GIT_CONFIG_KEY_0": "core.fsmonitor",
        "GIT_CONFIG_VALUE_0": trap.command("env-count"),
        "GIT_CONFIG_PARAMETERS": f"'core.fsmonitor'='{trap.command('env-parameters')}'",
        "GIT_TRACE": str(trap.marks / "env-trace"),
        "GIT_TRACE2_EVENT": str(trap.marks / "env-trace2"),
        "GIT_DIR": str(elsewhere / ".git"),
        "GIT_WORK_TREE": str(elsewhere),
        "GIT_INDEX_FILE": str(elsewhere / ".git" / "index"),
        "GIT_EXEC_PATH": str(trap.marks.parent),
    }.items():
        monkeypatch.setenv(name, value)


def test_the_traps_are_set(tmp_path: Path, trap: Trap) -> None:
    """The control: plain Git springs them, also the command that is said to run nothing."""
    repo = hostile(tmp_path / "repo", trap)
    git(repo, "status", ok=False)
    assert trap.sprung() >= {"fsmonitor", "clean", "process", "equals", "included", "worktree"}
    trap.reset()
    make_racy(repo)
    git(repo, "-c", "core.fsmonitor=false", "diff-files", "--raw", ok=False)
    assert "clean" in trap.sprung()
    (repo / "x.textconv").write_text("changed\n")
    (repo / "a").write_text("changed\n")
    git(repo, "diff", ok=False)
    git(repo, "diff", "--no-ext-diff", "x.textconv", ok=False)
    assert {"external", "textconv"} <= trap.sprung()
    git(repo, "cat-file", "-p", "1" * 40, ok=False)
    assert "remote" in trap.sprung()
    git(repo, "add", "-A", ok=False)
    assert "process" in trap.sprung()


def test_objects_that_are_missing_are_not_fetched(tmp_path: Path, trap: Trap) -> None:
    """In a partial clone Git asks for them, by whatever program the configuration names."""
    repo = hostile(tmp_path / "repo", trap)
    shutil.rmtree(repo / ".git" / "objects")
    (repo / ".git" / "objects").mkdir()
    assert told(repo) == told(repo / "sub")
    assert trap.sprung() == set()


def test_nothing_of_a_hostile_repository_within_runs(
    repo: Path, tmp_path: Path, trap: Trap
) -> None:
    """A submodule's configuration is its own, and so is that of a clone in the work tree."""
    inner = hostile(tmp_path / "inner", trap)
    shutil.copytree(inner, repo / "clone", symlinks=True)
    shutil.copytree(inner, repo / "linked", symlinks=True)
    (repo / "linked" / ".git").rename(repo / ".git" / "modules")
    (repo / "linked" / ".git").write_text("gitdir: ../.git/modules\n")
    git(repo, "update-index", "--add", "--cacheinfo", f"160000,{head(str(inner))},linked")
    trap.reset()
    before = told(repo)
    (repo / "linked" / "x.clean").write_text("changed\n")
    assert told(repo) != before
    assert trap.sprung() == set()


def test_a_bare_repository_in_the_work_tree_is_a_directory(repo: Path, trap: Trap) -> None:
    """Git run in it would obey it, although somebody else's files brought it."""
    bare = repo / "sub"
    git(repo, "init", "-q", "--bare", "sub")
    git(bare, "config", "core.bare", "false")
    git(bare, "config", "core.worktree", str(repo))
    git(bare, "config", "core.fsmonitor", trap.command("fsmonitor"))
    git(bare, "status", ok=False)
    assert trap.sprung() == {"fsmonitor"}
    trap.reset()
    assert told(bare) == told(repo)
    assert head(str(bare)) == git(repo, "rev-parse", "HEAD")
    assert trap.sprung() == set()


def test_a_repository_cannot_say_where_its_work_tree_is(repo: Path, tmp_path: Path) -> None:
    """A change in the workspace counts, wherever the configuration points."""
    other = tmp_path / "other"
    other.mkdir()
    git(repo, "config", "core.worktree", str(other))
    before = told(repo)
    (other / "new").write_text("1")
    assert told(repo) == before
    (repo / "new").write_text("1")
    assert told(repo) != before


@pytest.mark.parametrize("place", [".", "bin", "{repo}/bin", "{tmp}/link", "{tmp}/linked", ""])
def test_git_is_never_taken_from_the_workspace(
    repo: Path, tmp_path: Path, trap: Trap, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """By a relative entry of PATH, an absolute one, or a link from outside."""
    (repo / "bin").mkdir()
    for path in (repo / "git", repo / "bin" / "git"):
        shutil.copy(trap.command("git"), path)
    (tmp_path / "link").symlink_to(repo / "bin")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "git").symlink_to(repo / "git")
    entry = place.format(repo=repo, tmp=tmp_path)
    monkeypatch.chdir(repo)
    monkeypatch.setenv("PATH", f"{entry}:{os.environ['PATH']}")
    before = told(repo)
    assert trap.sprung() == set()
    (repo / "a").write_text("changed\n")
    assert told(repo) != before
    monkeypatch.setenv("PATH", entry)
    assert state(repo) is None
    assert trap.sprung() == set()


def test_git_is_never_taken_from_where_the_asker_happens_to_be(
    repo: Path, tmp_path: Path, trap: Trap, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative entry of PATH means another place in every directory."""
    (tmp_path / "bin").mkdir()
    shutil.copy(trap.command("git"), tmp_path / "bin" / "git")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", f"bin:{os.environ['PATH']}")
    assert told(repo)
    assert trap.sprung() == set()


def test_no_file_is_left_behind(
    repo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The Git directory of our own goes with the question."""
    place = tmp_path / "tmp"
    place.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(place))
    told(repo)
    fingerprint(str(repo), 0.0)
    assert list(place.iterdir()) == []
