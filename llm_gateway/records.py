"""Classes of named values: what we use of ``dataclasses``, made when the first of them is.

Every prompt is a new process with some forty such classes. ``dataclasses`` compiles up to six
functions for each, used or not, and a worker has no other use for the ``inspect`` that it imports;
here a class costs microseconds until there is an instance of it. To a type checker it is
``dataclasses``, and it behaves so in all that the tests compare.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["asdict", "field", "fields", "record", "replace"]

if TYPE_CHECKING:
    from dataclasses import asdict, field, fields, replace
    from dataclasses import dataclass as record
else:
    _MISSING = object()

    class Field:
        """A field's name, and its default: a value, a way to make one, or neither."""

        __slots__ = ("default", "default_factory", "name")

        def __init__(self, default=_MISSING, default_factory=None):
            self.name, self.default, self.default_factory = "", default, default_factory

    def field(*, default_factory):
        """A default that each instance gets one of its own of."""
        return Field(default_factory=default_factory)

    def fields(of):
        """The fields of a class or an instance, in order."""
        return tuple(of.__record_fields__.values())

    def replace(one, /, **values):
        """A copy in which these values stand."""
        kept = {name: getattr(one, name) for name in one.__record_fields__ if name not in values}
        return type(one)(**kept, **values)

    def asdict(one):
        """The values by name, also those of records inside it."""
        return {name: _plain(getattr(one, name)) for name in one.__record_fields__}

    def record(cls=None, /, *, frozen=False, slots=False):
        """Make a class of what it annotates; ``frozen``: its instances can be hashed, not changed.

        A base class that is a record gives its fields first.
        """
        if cls is None:
            return lambda cls: record(cls, frozen=frozen, slots=slots)
        own = _own_fields(cls)
        known = {}
        for base in reversed(cls.__mro__[1:]):
            known.update(base.__dict__.get("__record_fields__", ()))
        if slots:
            cls = _with_slots(cls, own)
        cls.__record_fields__ = known | own
        cls.__match_args__ = tuple(cls.__record_fields__)
        cls.__init__ = _made_later(cls, frozen)
        cls.__repr__, cls.__eq__, cls.__hash__ = _repr, _eq, _hash if frozen else None
        if frozen:
            cls.__setattr__ = cls.__delattr__ = _refuse
        return cls

    def _own_fields(cls):
        own = {}
        for name, kind in cls.__annotations__.items():
            if "ClassVar" in str(kind):
                continue
            said = cls.__dict__.get(name, _MISSING)
            own[name] = one = said if isinstance(said, Field) else Field(said)
            one.name = name
            if one is said:
                delattr(cls, name)
        return own

    def _with_slots(cls, own):
        space = {name: value for name, value in cls.__dict__.items() if name not in own}
        for name in ("__dict__", "__weakref__"):
            space.pop(name, None)
        return type(cls)(cls.__name__, cls.__bases__, {**space, "__slots__": tuple(own)})

    def _made_later(cls, frozen):
        def __init__(self, *args, **kwargs):
            cls.__init__ = _init(cls, frozen)
            cls.__init__(self, *args, **kwargs)

        return __init__

    def _init(cls, frozen):
        """What takes the fields in order or by name, compiled."""
        space = {"_set": object.__setattr__, "_missing": _MISSING}
        takes, does = ["self"], []
        for name, one in cls.__record_fields__.items():
            space[f"_{name}"] = one.default_factory or one.default
            value = name
            if one.default_factory:
                takes.append(f"{name}=_missing")
                value = f"_{name}() if {name} is _missing else {name}"
            else:
                takes.append(name if one.default is _MISSING else f"{name}=_{name}")
            does.append(f"_set(self, '{name}', {value})" if frozen else f"self.{name} = {value}")
        if hasattr(cls, "__post_init__"):
            does.append("self.__post_init__()")
        exec(f"def __init__({', '.join(takes)}):\n " + "\n ".join(does or ["pass"]), space)
        space["__init__"].__qualname__ = f"{cls.__qualname__}.__init__"
        return space["__init__"]

    def _values(one):
        return tuple([getattr(one, name) for name in one.__record_fields__])

    def _repr(self):
        told = (f"{name}={getattr(self, name)!r}" for name in self.__record_fields__)
        return f"{type(self).__qualname__}({', '.join(told)})"

    def _eq(self, other):
        return _values(self) == _values(other) if type(self) is type(other) else NotImplemented

    def _hash(self):
        return hash(_values(self))

    def _refuse(self, name, *_):
        raise AttributeError(f"{name} of a {type(self).__name__} is not to be changed")

    def _plain(value):
        if hasattr(value, "__record_fields__"):
            return asdict(value)
        if isinstance(value, dict):
            return {name: _plain(one) for name, one in value.items()}
        if type(value) in (list, tuple):
            return type(value)(_plain(one) for one in value)
        return value
