"""Which of the vendor's sessions a prompt belongs to: the rules, without a process."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_gateway import session_lock
from llm_gateway.errors import InvalidInput, Saturated, SessionLost
from llm_gateway.providers.base import Provider, quoted_prompt
from llm_gateway.providers.claude import Claude
from llm_gateway.providers.demo import Demo
from llm_gateway.providers.stored import StoredSession
from llm_gateway.request import Access, Options, Request, SessionPlan, Turn
from llm_gateway.session_lock import exclusive
from llm_gateway.sessions import Choice, Records, after_loss, choose, inherit, left, turn_of
from llm_gateway.store.session_names import Mark
from llm_gateway.store.sessions import SessionRow


class Rooted(Demo):
    """A CLI that finds a session only where it was made."""

    title = "Rooted"
    resumes_anywhere = False


class Unnamed(Demo):
    """A CLI that names its sessions itself."""

    chooses_session_id = False


def told(session_id: str = "s-1", **more: Any) -> dict[str, Any]:
    return {"session_id": session_id, "turn": "t-1", "message": "m-1", "cwd": "/w", **more}


def user(text: str) -> Turn:
    return Turn("user", text)


def ours(text: str, session_id: str = "s-1", **more: Any) -> Turn:
    return Turn("assistant", text, told(session_id, **more))


def theirs(text: str) -> Turn:
    return Turn("assistant", text)


def choice(
    *history: Turn,
    provider: Provider | None = None,
    row: SessionRow | None = None,
    mark: Mark | None = None,
    newest: Callable[[str], StoredSession | None] | None = None,
    **options: Any,
) -> Choice:
    request = Request("r", "claude", "prompt", Options(**options), history=history)
    return choose(request, provider or Claude(), Records(lambda _: row, mark, newest))


def test_a_first_prompt_starts_a_session() -> None:
    """With an id of our choosing, where the CLI lets us; another one each time."""
    one, two = choice().plan, choice().plan
    assert one.kind == "new" and one.session_id is None and one.quoted == ()
    assert one.new_id and two.new_id and one.new_id != two.new_id
    assert one.expected_id == one.new_id
    assert choice(provider=Unnamed()).plan == SessionPlan("new")


def test_a_history_of_ours_is_resumed() -> None:
    """The newest answer of this provider says where."""
    plan = choice(user("a"), ours("b", "s-0"), user("c"), ours("d", "s-1", turn="t-2")).plan
    assert (plan.kind, plan.session_id, plan.quoted) == ("resume", "s-1", ())
    assert plan.expected_id == "s-1"


def test_what_the_session_has_not_seen_is_quoted() -> None:
    """Turns with another model since."""
    more = (user("c"), theirs("d"))
    plan = choice(user("a"), ours("b"), *more).plan
    assert (plan.kind, plan.session_id, plan.quoted) == ("resume", "s-1", more)


def test_a_history_of_others_is_quoted_whole() -> None:
    """Into a new session."""
    history = (user("a"), theirs("b"))
    plan = choice(*history).plan
    assert (plan.kind, plan.quoted) == ("new", history)


def row(**more: Any) -> SessionRow:
    return SessionRow("claude", "s-1", **{"cwd": "/w", "last_turn_id": "t-1", **more})


def test_a_session_that_has_gone_on_is_forked_at_the_answer() -> None:
    """The recorder knows a later turn than this history has."""
    history = (user("a"), ours("b"), user("c"), theirs("d"))
    found = choice(*history, row=row(last_turn_id="t-9"))
    plan = found.plan
    assert (plan.kind, plan.session_id, plan.at) == ("fork", "s-1", "m-1")
    assert plan.new_id and plan.expected_id == plan.new_id
    assert plan.quoted == history[2:]
    assert found.note == "session s-1 has gone on; this prompt continues a copy of it"


@pytest.mark.parametrize("provider", [Demo(), Claude()], ids=["cannot fork", "no message id"])
def test_a_session_that_cannot_be_forked_there_is_replayed(provider: Provider) -> None:
    """The whole transcript goes into a new one."""
    history = (user("a"), ours("b", message=None))
    found = choice(*history, provider=provider, row=row(last_turn_id="t-9"))
    assert (found.plan.kind, found.plan.quoted) == ("new", history)
    assert found.note is not None and found.note.endswith("starts a new one")


def test_a_session_that_another_process_is_in_is_left() -> None:
    """In the same two ways."""
    request = Request("r", "claude", "p", history=(user("a"), ours("b")))
    first = choose(request, Claude(), Records())
    busy = left(first, request, Claude(), "is busy")
    assert (busy.plan.kind, busy.plan.at) == ("fork", "m-1")
    assert busy.note == "session s-1 is busy; this prompt continues a copy of it"


@pytest.mark.parametrize("row_", [None, row(), row(last_turn_id=None)])
def test_without_or_with_the_recorder_the_session_is_the_same(row_: SessionRow | None) -> None:
    """llm's own metadata is enough."""
    plan = choice(user("a"), ours("b"), row=row_).plan
    assert (plan.kind, plan.session_id) == ("resume", "s-1")


def test_the_sums_of_the_session_come_along() -> None:
    """Cost and tokens that it had before this turn."""
    history = (user("a"), ours("b", cost_total_usd=0.5, usage_totals={"input": 7}))
    plan = choice(*history).plan
    assert (plan.cost_before, plan.usage_before) == (0.5, {"input": 7})


def test_a_cli_that_resumes_in_one_place_only() -> None:
    """Asked to work elsewhere it starts anew, with a word about it; else it goes on there."""
    history = (user("a"), ours("b", cwd="/w"))
    moved = choice(*history, provider=Rooted(), cwd="/elsewhere")
    assert (moved.plan.kind, moved.plan.quoted) == ("new", history)
    assert moved.note == "Rooted resumes only in /w; the transcript starts a new session"
    for cwd in (None, "/w", "/w/"):
        assert choice(*history, provider=Rooted(), cwd=cwd).plan.kind == "resume"
    assert choice(*history, provider=Demo(), cwd="/elsewhere").plan.kind == "resume"


def test_a_session_by_name() -> None:
    """What this conversation has said outside it is quoted."""
    assert choice(session_id="s-7").plan == SessionPlan("resume", "s-7")
    history = (user("a"), ours("b", "s-7"), user("c"), ours("d", "s-8"))
    plan = choice(*history, session_id="s-7").plan
    assert (plan.kind, plan.session_id, plan.quoted) == ("resume", "s-7", history[2:])
    assert choice(user("a"), theirs("b"), session_id="s-7").plan.quoted == (user("a"), theirs("b"))


@pytest.mark.parametrize(
    "id", ["-rf", "--help", "../x", "a/b", "gw-12", "a\nb", "a\0b", "\x1b[31m"]
)
def test_what_is_no_session_id(id: str) -> None:
    """Neither flags nor paths nor what a terminal would obey."""
    with pytest.raises(InvalidInput):
        choice(session_id=id)


def test_the_newest_or_none() -> None:
    """Both say so in one word."""
    history = (user("a"), ours("b"))
    assert choice(*history, resume_latest=True).plan == SessionPlan("latest")
    fresh = choice(*history, create_new_session=True, session_id="s-7")
    assert (fresh.plan.kind, fresh.plan.quoted, fresh.last) == ("new", history, None)


# What wins: docs/architecture.md has the same table, in the same order.

NAMED = Mark("claude", "s-named", "work")
RESERVED = Mark("claude", None, "work")
ACTIVE = Mark("claude", "s-active", active=True)
OURS = (user("a"), ours("b", "s-history"))
THEIRS = (user("a"), theirs("b"))


def newest(cwd: str) -> StoredSession:
    return StoredSession("claude", "s-newest", 0.0, "path", cwd)


@pytest.mark.parametrize(
    ("said", "history", "mark", "kind", "session_id"),
    [
        ({"create_new_session": True, "session_id": "s-id"}, OURS, NAMED, "new", None),
        ({"create_new_session": True}, (), ACTIVE, "new", None),
        ({"session_id": "s-id", "resume_latest": True}, OURS, ACTIVE, "resume", "s-id"),
        ({"session": "work", "resume_latest": True}, OURS, NAMED, "resume", "s-named"),
        ({"session": "work"}, OURS, RESERVED, "new", None),
        ({"resume_latest": True}, OURS, ACTIVE, "resume", "s-newest"),
        ({}, OURS, ACTIVE, "resume", "s-history"),
        ({}, THEIRS, ACTIVE, "new", None),
        ({}, (), ACTIVE, "resume", "s-active"),
        ({}, (), None, "new", None),
    ],
)
def test_what_wins(
    said: dict[str, Any],
    history: tuple[Turn, ...],
    mark: Mark | None,
    kind: str,
    session_id: str | None,
) -> None:
    """Each row is what is said first, with things beside it that come after it."""
    plan = choice(*history, mark=mark, newest=newest, **said).plan
    assert (plan.kind, plan.session_id) == (kind, session_id)


def test_a_name_and_an_id_at_once_is_a_contradiction() -> None:
    with pytest.raises(InvalidInput):
        choice(session="work", session_id="s-1", mark=NAMED)


def test_a_name_begins_a_session_and_says_so() -> None:
    """It is called that from then on; create_new_session gives the name to another one."""
    for mark, said in ((RESERVED, {}), (NAMED, {"create_new_session": True})):
        found = choice(session="work", mark=mark, **said)
        assert (found.plan.kind, found.plan.name) == ("new", "work")
        assert found.note == "a new session begins, named work"
        assert found.locks == ("claude/work",)
    named = choice(session="work", mark=NAMED)
    assert (named.plan.name, named.note, named.locks) == (None, None, ("claude/work", "s-named"))


def test_the_active_session_says_so_and_how_to_end_that() -> None:
    """Also where it is, unless that is here or was said."""
    found = choice(mark=ACTIVE, row=row(cwd="/w"))
    ends = "llm gateway session clear claude ends that"
    assert found.note == f"continuing the active session s-active in /w; {ends}"
    here = choice(mark=ACTIVE, row=row(cwd="."))
    assert here.note == f"continuing the active session s-active; {ends}"
    begins = choice(mark=Mark("claude", None, "work", active=True))
    assert begins.note == f"a new session begins, named work; {ends}"


def test_what_nobody_named_on_this_prompt_hands_on_no_access() -> None:
    """The active session and the newest run at read unless asked; one that was named goes on."""
    edit = row(access="edit", model="m")
    levels = {
        how: inherit(Options(), choice(row=edit, newest=newest, **said).last)
        for how, said in {
            "active": {"mark": ACTIVE},
            "newest": {"resume_latest": True},
            "last": {"mark": NAMED, "session": "@last"},
            "named": {"mark": NAMED, "session": "work"},
            "id": {"session_id": "s-1"},
        }.items()
    }
    assert {how: access for how, (_, access) in levels.items()} == {
        "active": None,
        "newest": None,
        "last": None,
        "named": Access.EDIT,
        "id": Access.EDIT,
    }
    assert {options.model for options, _ in levels.values()} == {"m"}


def test_the_newest_of_a_directory_that_has_none() -> None:
    """Refused, where the vendor's store can be read; else the CLI is asked."""
    with pytest.raises(SessionLost, match="Claude Code has no session of /x; leave out"):
        choice(resume_latest=True, cwd="/x", newest=lambda cwd: None)
    assert choice(resume_latest=True).plan == SessionPlan("latest")


def test_a_named_session_of_a_cli_that_resumes_in_one_place_only() -> None:
    """Asked to work elsewhere it would lose what was said."""
    with pytest.raises(InvalidInput, match="only in /w"):
        choice(provider=Rooted(), session="work", mark=NAMED, row=row(), cwd="/elsewhere")
    there = choice(provider=Rooted(), mark=NAMED, session="work", row=row(), cwd="/w")
    assert there.plan.session_id == "s-named"


def test_a_busy_session_without_a_transcript_is_not_left() -> None:
    """A new one would know nothing of what was said."""
    request = Request("r", "claude", "p", Options(session_id="s-1"))
    with pytest.raises(Saturated, match="s-1 is busy; try again"):
        left(choose(request, Claude(), Records()), request, Claude(), "is busy")


def test_a_chosen_session_that_the_vendor_lost() -> None:
    """Begun again where nothing was ever answered in it, else refused with what mends it."""
    request = Request("r", "claude", "p", Options(session="work"))
    gone = SessionLost("It is gone.")
    empty = after_loss(
        choice(session="work", mark=NAMED, row=row(turns=0)), request, Claude(), gone
    )
    assert (empty.plan.kind, empty.plan.name) == ("new", "work")
    for told in (row(turns=2), row(turns=0, source="adopted")):
        with pytest.raises(SessionLost, match="llm gateway session delete work forgets it here"):
            after_loss(
                choice(session="work", mark=NAMED, row=told), request, Claude(), SessionLost("x.")
            )
    said = Request("r", "claude", "p", Options(session="work"), history=OURS)
    replayed = after_loss(choice(*OURS, session="work", mark=NAMED), said, Claude(), gone)
    assert (replayed.plan.kind, replayed.plan.name, replayed.plan.quoted) == ("new", "work", OURS)


def test_the_same_words_twice_in_a_session_are_two_turns() -> None:
    """Also where no history tells them apart; the same turn asked for again is one (T-04)."""
    request = Request("r", "claude", "go on", Options(session="work"))
    turns = [choice(session="work", mark=NAMED, row=row(last_turn_id=id)) for id in "aab"]
    first, same, later = (turn_of(request, found.plan) for found in turns)
    assert first == same != later and first
    replied = Request("r", "claude", "go on", history=(user("a"), ours("b", turn="t-5")))
    assert turn_of(replied, choose(replied, Claude(), Records()).plan) == "s-1 t-5"
    assert turn_of(request, choice(session="work", mark=RESERVED).plan) == ""


def test_a_lost_session_is_replayed() -> None:
    """Everything that was said, and a new id."""
    history = (user("a"), ours("b"))
    request = Request("r", "claude", "p", history=history)
    first = choose(request, Claude(), Records())
    found = after_loss(first, request, Claude(), SessionLost("It is gone."))
    assert (found.plan.kind, found.plan.quoted) == ("new", history) and found.plan.new_id
    assert found.note == ("It is gone. The transcript of this conversation starts a new session.")


def test_what_a_session_keeps() -> None:
    """Directory, model and more directories, unless they are given again; and its level."""
    last = {"cwd": "/w", "model": "m", "add_dirs": ["/d"], "access": "edit"}
    options, access = inherit(Options(effort="high"), last)
    assert options == Options(effort="high", cwd="/w", model="m", add_dirs=("/d",))
    assert access is Access.EDIT
    said = Options(cwd="/x", model="n", add_dirs=("/e",))
    assert inherit(said, last) == (said, None)
    assert inherit(said, None) == (said, None)
    assert inherit(said, {}) == (said, None)
    assert inherit(Options(), {"session_id": "s"}) == (Options(), None)


@pytest.mark.parametrize(
    ("said", "access"),
    [
        (Options(cwd="/w/"), Access.EDIT),
        (Options(cwd="/w/../x"), None),
        (Options(cwd="/w/sub"), None),
        (Options(add_dirs=("/d", "../d/.")), Access.EDIT),
        (Options(add_dirs=("/d", "/e")), None),
        (Options(add_dirs=("~",)), None),
    ],
)
def test_a_level_holds_for_the_directories_that_it_was_given_for(
    said: Options, access: Access | None
) -> None:
    """Edit of one workspace is no edit of another that a later prompt names."""
    last = {"cwd": "/w", "add_dirs": ["/d"], "access": "edit"}
    assert inherit(said, last)[1] is access


def test_a_reply_to_an_earlier_answer_has_that_answers_settings() -> None:
    """Metadata wins (design 8): a later turn at edit does not widen another reply to this one."""
    history = (user("a"), ours("b", access="read", model="m"))
    later = row(last_turn_id="t-9", access="edit", model="n")
    found = choice(*history, row=later)
    assert found.plan.kind == "fork"
    options, access = inherit(Options(), found.last)
    assert (options.model, access) == ("m", Access.READ)


TURNS = st.lists(
    st.builds(
        Turn,
        st.sampled_from(["user", "assistant"]),
        st.text(),
        st.one_of(st.none(), st.builds(told, st.sampled_from(["s-1", "s-2"]))),
    ),
    max_size=8,
)


@given(TURNS)
def test_every_turn_is_in_the_session_or_quoted(history: list[Turn]) -> None:
    """Nothing of the conversation gets lost, nothing is told twice, whatever came when."""
    plan = choice(*history).plan
    seen = [i for i, turn in enumerate(history) if turn.session]
    if not seen:
        assert plan.kind == "new" and list(plan.quoted) == history
    else:
        last = seen[-1]
        assert plan.session_id == (history[last].session or {})["session_id"]
        assert list(plan.quoted) == history[last + 1 :]


@given(TURNS, st.text())
def test_a_quotation_ends_with_the_prompt_itself(history: list[Turn], prompt: str) -> None:
    """Byte by byte, and without a quotation it is the prompt and nothing else."""
    text = quoted_prompt(prompt, history)
    assert text.endswith(prompt)
    if not any(turn.text for turn in history):
        assert text == prompt
    for turn in history:
        assert turn.text in text


# The lock.

HOLDER = """
import fcntl, os, sys, time
descriptor = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.flock(descriptor, fcntl.LOCK_EX)
print("held", flush=True)
time.sleep(100)
"""


def test_a_session_is_held_by_one_at_a_time(tmp_path: Path) -> None:
    """The second waits, says so once, and gets it when the first is done."""
    said: list[str] = []
    release = threading.Event()
    held = threading.Event()

    def first() -> None:
        with exclusive("s-1", tmp_path, said.append, lambda: False) as got:
            assert got
            held.set()
            release.wait(30)

    thread = threading.Thread(target=first)
    thread.start()
    assert held.wait(30)
    threading.Timer(0.3, release.set).start()
    with exclusive("s-1", tmp_path, said.append, lambda: False) as got:
        assert got and release.is_set()
    thread.join(30)
    assert said == ["waiting for session s-1: another prompt is running in it"]
    (lock,) = (tmp_path / "locks").iterdir()
    assert lock.stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "locks").stat().st_mode & 0o777 == 0o700


def test_two_sessions_do_not_wait_for_each_other(tmp_path: Path) -> None:
    """Nor does a new session, which has no id yet."""
    said: list[str] = []
    with (
        exclusive("s-1", tmp_path, said.append, lambda: False),
        exclusive("s-2", tmp_path, said.append, lambda: False) as other,
        exclusive(None, tmp_path, said.append, lambda: False) as none,
    ):
        assert other and none
    assert said == []


@pytest.fixture
def holder(tmp_path: Path) -> Any:
    """Another process that is in session s-1."""
    with exclusive("s-1", tmp_path, print, lambda: False):
        (lock,) = (tmp_path / "locks").iterdir()
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(lock)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_lock_dies_with_its_holder(holder: Any, tmp_path: Path) -> None:
    """kill -9 of the other process frees the session at once."""
    said: list[str] = []
    threading.Timer(0.3, holder.kill).start()
    with exclusive("s-1", tmp_path, said.append, lambda: False) as got:
        assert got
    assert len(said) == 1


def test_waiting_ends(holder: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its time, or when whoever waits is told to stop."""
    monkeypatch.setattr(session_lock, "LOCK_WAIT", 0.2)
    with exclusive("s-1", tmp_path, print, lambda: False) as got:
        assert not got
    monkeypatch.setattr(session_lock, "LOCK_WAIT", 60.0)
    stop = threading.Event()
    threading.Timer(0.2, stop.set).start()
    with exclusive("s-1", tmp_path, print, stop.is_set) as got:
        assert not got


def test_no_lock_is_better_than_no_answer(tmp_path: Path) -> None:
    """Where the directory cannot be made the prompt runs all the same."""
    (tmp_path / "file").write_text("")
    with exclusive("s-1", tmp_path / "file", print, lambda: False) as got:
        assert got
