"""Words, names and ids of a made-up past."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping

__all__ = ["Words", "pick"]

ALPHABET = "0123456789abcdefghjkmnpqrstvwxyz"
PAIRS = [a + b for a in ALPHABET for b in ALPHABET]
COMMON = (
    "the a file change of test reads its parser which now pass because value returned before error"
    " line function import module should keep path when it is not there and why does this fail on"
    " explain rewrite review add fix where how small refactor query index cache retry timeout the"
    " session request answer model token cost branch merge commit build release docs example class"
    " method loop thread lock race memory leak type check strict naïve über façade 日本語 данные"
)
SYLLABLES = "par ser con fig ses sion run ner loa der wri ter bra nch tok en mod el que ue ind ex"


class Words:
    """Says something else each time, and the same things for the same chance."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        parts = SYLLABLES.split()
        some = chance
        names = ["_".join(some.choices(parts, k=some.randint(2, 3))) for _ in range(4000)]
        self._common = COMMON.split()
        words = self._common * 12 + names
        self._sentences = [
            " ".join(some.choices(words, k=some.randint(5, 22))).capitalize() + "."
            for _ in range(6000)
        ]
        self.code = [
            "```python\n"
            + "\n".join(f"    {a} = {b}({a!r})" for a, b in self._pairs(names))
            + "\n```"
            for _ in range(500)
        ]

    def _pairs(self, names: list[str]) -> Iterator[tuple[str, str]]:
        for _ in range(self.chance.randint(2, 9)):
            yield self.chance.choice(names), self.chance.choice(names)

    def text(self, typical: float, most: int) -> str:
        """Sentences, and sometimes code: about as many as is typical, seldom many more."""
        some = self.chance
        count = min(most, 1 + int(some.lognormvariate(0.0, 1.0) * typical))
        said = " ".join(some.choices(self._sentences, k=count))
        if count > 4 and some.random() < 0.3:
            said = f"{said}\n\n{some.choice(self.code)}"
        return said

    def name(self) -> str:
        """A word that hardly comes twice."""
        return f"{self.chance.choice(self._common[:60])}-{self.chance.getrandbits(16):04x}"

    def id(self, at: float) -> str:
        """A ULID of that time."""
        milliseconds = int(at * 1000)
        begun = "".join(PAIRS[milliseconds >> shift & 1023] for shift in (40, 30, 20, 10, 0))
        return f"{begun}{self.chance.getrandbits(64):016x}"

    def uuid(self) -> str:
        text = f"{self.chance.getrandbits(128):032x}"
        return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def pick(chance: random.Random, shares: Mapping[str, float]) -> str:
    """One of the names, as often as its share says."""
    at = chance.random() * sum(shares.values())
    for name, share in shares.items():
        at -= share
        if at < 0:
            return name
    return name
