"""Records are dataclasses that are made later: whatever one does, the other does."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from typing import Any, ClassVar

import pytest

from llm_gateway import records

BOTH = [
    pytest.param(dataclasses.dataclass, dataclasses, id="dataclasses"),
    pytest.param(records.record, records, id="records"),
]


def shapes(made: Any, module: Any) -> tuple[type[Any], type[Any], type[Any]]:
    """A plain one that is filled in, a frozen one, and one of names only that inherits."""

    @made
    class Basket:
        owner: str
        material: ClassVar[str] = "straw"
        count: int = 1
        eggs: list[str] = module.field(default_factory=list)

        def __post_init__(self) -> None:
            self.label = f"{self.owner}'s"

    @made(frozen=True, slots=True)
    class Egg:
        colour: str
        basket: object = None

    @made(slots=True)
    class Named:
        name: str = "x"

    return Basket, Egg, Named


@pytest.mark.parametrize(("made", "module"), BOTH)
class TestBoth:
    def test_values_come_in_order_or_by_name(self, made: Any, module: Any) -> None:
        """As a call of any function."""
        basket, _, named = shapes(made, module)
        assert (basket("a", 2).count, basket(count=3, owner="b").count) == (2, 3)
        assert basket("c").label == "c's"
        assert named().name == "x" and named("y").name == "y"

    @pytest.mark.parametrize("wrong", [((), {}), (("a", 1, [], 4), {}), (("a",), {"owner": "b"})])
    def test_wrong_calls_are_type_errors(self, made: Any, module: Any, wrong: Any) -> None:
        """Too few, too many, twice."""
        args, kwargs = wrong
        with pytest.raises(TypeError):
            shapes(made, module)[0](*args, **kwargs)

    def test_a_default_that_is_made_is_nobody_elses(self, made: Any, module: Any) -> None:
        """Two baskets share no eggs."""
        basket = shapes(made, module)[0]
        basket("a").eggs.append("egg")
        assert basket("b").eggs == []

    def test_equal_values_are_equal_and_frozen_ones_hash(self, made: Any, module: Any) -> None:
        """Of the same class only; one that changes has no hash."""
        basket, egg, named = shapes(made, module)
        assert basket("a") == basket("a") != basket("b")
        assert egg("x") != named("x")
        assert len({egg("x"), egg("x"), egg("y")}) == 2
        with pytest.raises(TypeError):
            hash(basket("a"))

    def test_a_frozen_one_does_not_change(self, made: Any, module: Any) -> None:
        """Neither its values nor a name it has not; a slotted one takes no other name at all."""
        _, egg, named = shapes(made, module)
        one = egg("x")
        with pytest.raises(AttributeError):
            one.colour = "y"
        with pytest.raises(AttributeError):
            del one.colour
        with pytest.raises(AttributeError):
            named().other = 1
        assert one.colour == "x"

    def test_replace_fields_and_asdict(self, made: Any, module: Any) -> None:
        """A copy with other values, the names, and the values, also inside one another."""
        basket, egg, _ = shapes(made, module)
        one = egg("x", [egg("y"), {"z": egg("w", (1,))}])
        assert module.replace(one, colour="v").colour == "v"
        assert [f.name for f in module.fields(basket)] == ["owner", "count", "eggs"]
        inner = {"colour": "w", "basket": (1,)}
        told = [{"colour": "y", "basket": None}, {"z": inner}]
        assert module.asdict(one) == {"colour": "x", "basket": told}
        with pytest.raises(TypeError):
            module.replace(one, weight=3)

    def test_it_says_what_it_is(self, made: Any, module: Any) -> None:
        """For a person, and for ``match``."""
        _, egg, _ = shapes(made, module)
        assert repr(egg("x")).endswith("Egg(colour='x', basket=None)")
        match egg("x", 3):
            case egg(_, weight):
                assert weight == 3

    def test_a_subclass_has_the_fields_of_its_base_first(self, made: Any, module: Any) -> None:
        """And may give one of them another default."""
        basket = shapes(made, module)[0]

        @made
        class Big(basket):  # type: ignore[misc, valid-type]
            material = "willow"
            count: int = 100
            handle: str = "wood"

        one = Big("a", handle="rope")
        assert (one.count, one.handle, one.label) == (100, "rope", "a's")
        assert (basket.material, one.material) == ("straw", "willow")
        assert basket("a").count == 1


def test_the_prompts_way_imports_neither_dataclasses_nor_inspect() -> None:
    """A worker starts in the time that they take."""
    code = (
        "import sys, llm_gateway.gateway as g; print({'dataclasses', 'inspect'} & {*sys.modules})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
