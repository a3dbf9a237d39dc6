"""The optimiser: vectors of the original, code left alone, and no text that makes it slow."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_gateway.optimizer import optimized, tokens

VECTORS = {
    "Please fix the bug.": "fix the bug.",
    "please: do it": "do it",
    "Could you check this": "check this",
    "I would like you to run tests": "run tests",
    "I need you to go": "go",
    "I just implemented foo": "foo",
    "Write a comprehensive, detailed and thorough overall critical report": "Write a , and report",
    "bugs found in the product review: x": "bugs : x",
    "code that we implemented yesterday": "code yesterday",
    "the session management system works": "session management works",
    "The caching feature is slow": "caching is slow",
    "Problem: it fails": "it fails",
    "in the file src/a.ts on line 430": "src/a.ts:430",
    "in the session-manager.ts file at lines 57 and 133": "session-manager.ts:57,133",
    "foo.py line 12": "foo.py:12",
    "see a.ts at lines 1, 2 and 3": "see a.ts:1,2,3",
    "an optional boolean (default false)": "bool=false",
    "optional boolean flag": "bool? flag",
    "a required integer": "int!",
    "an integer": "int",
    "an array of strings": "str[]",
    "string enum of [a,b]": "enum[a,b]",
    "string parameter x": "param:str x",
    "a string value": "a str value",
    "Are there any bugs?": "bugs?",
    "1. First, you should read the files\n2. Then, make changes.\n3. Finally, test;": (
        "Tasks: read the files → make changes → test"
    ),
    "1. only one": "1. only one",
    "- alpha\n- beta.": "alpha → beta",
    "- one item": "- one item",
    "Change foo to bar.": "foo → bar.",
    "Change the timeout to a number": "timeout → number",
    "Convert the string to an int!": "str → int!",
    "The result should be an array": "The result: array",
    "Architecture and design": "Architecture/design",
    "This is a long sentence with and in it that exceeds fifty characters total": (
        "This is a long sentence with and in it that exceeds fifty characters total"
    ),
    "a  b\t\tc\n\n\n\nd   ": "a b c\n\nd",
    "`Please keep string` Please change string": "`Please keep string` change str",
    "```\nPlease string\n```\nPlease string": "```\nPlease string\n```\nstr",
    "  leading spaces": " leading spaces",
    "Overall, this is fine": ", this is fine",
    "In conclusion, done": "In conclusion, done",
    "I use the best feature of the old system here": "I use best feature of the old here",
    "": "",
}


@pytest.mark.parametrize("text", VECTORS)
def test_the_originals_vectors(text: str) -> None:
    """Every one of them, letter by letter."""
    assert optimized(text) == VECTORS[text]


def test_answers_lose_their_conclusions() -> None:
    """The original leaves ", this is fine" of the second; here the rule for answers comes first."""
    assert optimized("In conclusion, done", response=True) == "done"
    assert optimized("Overall, this is fine", response=True) == "this is fine"


@pytest.mark.parametrize(("text", "count"), [("", 0), ("a", 2), ("a b c", 4), ("w " * 10, 13)])
def test_the_estimate_of_tokens(text: str, count: int) -> None:
    """1.3 a word, rounded up."""
    assert tokens(text) == count


@pytest.mark.parametrize(
    "code",
    [
        "```python\nPlease  string\n\n\n\n```",
        "````\n```\nPlease string\n```\n````",
        "``Please ` string``",
        "`Please\nstring`",
        "```\nPlease string, and never closed\n",
    ],
)
def test_code_is_left_alone(code: str) -> None:
    """Fences of any length, to the end where they are open, and spans; text around it stays apart.

    The original trims the end of each piece of text, so that it joins words and breaks fences.
    """
    assert optimized(f"say a string:\n{code}") == f"say a str:\n{code}"
    assert optimized("see `x`, please ok") == "see `x`, ok"


@given(
    st.lists(
        st.sampled_from(["please ", "the ", " system", "string", "`", "```", "\n", "- ", "1. "])
    )
)
def test_no_code_is_lost_or_changed(parts: list[str]) -> None:
    """Whatever the backticks: their number stays, and a second pass finds nothing to break."""
    text = "".join(parts)
    assert optimized(text).count("`") == text.count("`")


HOSTILE = (
    *("the ", "the a system ", "` ", "x`", "```\n", "\n````\n```", "a.", "a/", "1, ", "in the "),
    *("in the file ", "are there any ", "found in the ", "string enum of [", " ", "\n", "1. a\n"),
    *("- ", "please ", "optional boolean (default ", "change ", "``` ", "a.py line 1, "),
)


@pytest.mark.timeout(40)
@pytest.mark.parametrize("part", HOSTILE)
def test_hostile_text_takes_no_time(part: str) -> None:
    """T-34: a rule that looks at the rest of the text from everywhere is ended by the time-out."""
    optimized(part * (100_000 // len(part)), response=True)
