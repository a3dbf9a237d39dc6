"""The texts of a long answer, kept in the form in which they are recorded."""

from __future__ import annotations

import json
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from llm_gateway.events import Messages

TEXTS = st.lists(st.text(st.characters(exclude_categories=["Cs"])))


@given(TEXTS)
def test_they_are_what_was_said_and_its_json(texts: list[str]) -> None:
    """One by one, in parts, and after a pickle, which is how a slow reader gets them."""
    messages = Messages(texts)
    assert messages == texts and len(messages) == len(texts) and bool(messages) == bool(texts)
    assert messages[:-1] == texts[:-1] and messages[1::2] == texts[1::2]
    assert messages[-1:] == texts[-1:]
    assert json.loads(messages.json) == texts
    assert pickle.loads(pickle.dumps(messages)) == texts


def test_what_is_not_there_is_an_error() -> None:
    """As of any list; and no list of other words is equal."""
    with pytest.raises(IndexError):
        Messages()[-1]
    with pytest.raises(IndexError):
        Messages(["a"])[1]
    assert Messages(["a"])[-1] == "a" and Messages(["a"]) != ["b"]


def test_half_a_surrogate_pair_becomes_a_question_mark() -> None:
    """No UTF-8 can hold it."""
    assert Messages(["a\ud83d"]) == ["a?"]
