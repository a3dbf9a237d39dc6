"""An answer to a schema is checked."""

from __future__ import annotations

from typing import Any

import pytest

from llm_gateway.errors import ProtocolError
from llm_gateway.events import Reply
from llm_gateway.schema import check_schema

SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"a": {"type": "array", "items": {"type": "integer"}}},
    "required": ["a"],
}


@pytest.mark.parametrize("text", ['{"a": []}', ' {"a": [1, 2]}\n', '{"a": [1], "b": null}'])
def test_what_fits(text: str) -> None:
    """White space around it is no matter."""
    check_schema(Reply(text), SCHEMA)


def test_without_a_schema_anything_fits() -> None:
    """Also what is no JSON."""
    check_schema(Reply("words"), None)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("words", "it is not JSON (Expecting value: line 1 column 1 (char 0))"),
        ('```json\n{"a": []}\n```', "it is not JSON"),
        ('{"a": []} and more', "it is not JSON"),
        ("", "it is not JSON"),
        ("[]", "$: [] is not of type 'object'"),
        ('{"a": [1, "x"]}', "$.a[1]: 'x' is not of type 'integer'"),
        ("{}", "$: 'a' is a required property"),
    ],
)
def test_what_does_not_fit(text: str, why: str) -> None:
    """The error says where and why, with the session."""
    with pytest.raises(ProtocolError) as failed:
        check_schema(Reply(text, session_id="s-1"), SCHEMA)
    assert str(failed.value).startswith(f"The answer does not fit the schema: {why}")
    assert failed.value.session_id == "s-1"


def test_a_schema_that_is_wrong_itself() -> None:
    """It is told as what it is."""
    with pytest.raises(ProtocolError, match="the schema itself is wrong"):
        check_schema(Reply("{}"), {"type": "objekt"})


def test_a_schema_may_refer_to_its_own_parts() -> None:
    """Nothing is fetched from anywhere."""
    schema = {"$defs": {"n": {"type": "integer"}}, "properties": {"a": {"$ref": "#/$defs/n"}}}
    check_schema(Reply('{"a": 1}'), schema)
    with pytest.raises(ProtocolError):
        check_schema(Reply('{"a": "x"}'), schema)


@pytest.mark.parametrize("ref", ["#/$defs/missing", "http://127.0.0.1:9/schema.json"])
def test_a_schema_that_refers_to_nothing(ref: str) -> None:
    """A typed error, no connection."""
    with pytest.raises(ProtocolError):
        check_schema(Reply('{"a": 1}'), {"properties": {"a": {"$ref": ref}}})
