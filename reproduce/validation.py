"""YAML -> validated objects.

Whatever is wrong ends in one line that names the file, the line, the field, what was expected and what was found.
"""

from __future__ import annotations

import re
import reprlib
import types
import typing
from collections.abc import Callable, Hashable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from predict_diff.errors import ConfigurationError, closest

#: Configurations are written by hand; a larger file, or one nested deeper, is something else.
_LARGEST_YAML = 1 << 18
_DEEPEST_YAML = 20

#: Characters of a whole number; the largest that anything takes is a seed below 2^64. Python parses and prints long
#: ones in quadratic time, or not at all.
_LONGEST_INTEGER = 100

#: Characters of a message; a field's name can be anything.
_LONGEST_MESSAGE = 400

_MERGE = "tag:yaml.org,2002:merge"

#: Of what values have anyway.
_TAGS = {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")}

#: What was found, for messages: a file can hold anything.
_SHORT = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother = 2, 80, 80


class Strict(BaseModel):
    """A model that knows all its fields, and takes no text for a number."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


Model = TypeVar("Model", bound=BaseModel)


def read_yaml(path: Path, model: type[Model]) -> Model:
    """Read and validate a YAML file. ConfigurationError if anything about it is wrong."""
    try:
        if not path.is_file():
            found = "a folder or a device" if path.exists() else "no such file"
            raise ConfigurationError(f"{path}: expected YAML, found {found}")
        with path.open("rb") as file:
            content = file.read(_LARGEST_YAML + 1)
        if len(content) > _LARGEST_YAML:
            raise ConfigurationError(f"{path}: expected a configuration of at most {_LARGEST_YAML} bytes, found more")
        text = content.decode("utf-8")
    except OSError as reason:
        raise ConfigurationError(f"{path}: expected YAML, but it cannot be read ({reason.strerror})") from reason
    except UnicodeDecodeError as reason:
        raise ConfigurationError(f"{path}: expected YAML in UTF-8, found other bytes; save it as UTF-8") from reason
    node, fields = _parsed(text, str(path))
    return validated(model, fields, lambda place: f"{path}:{_line(node, place)}")


def with_fields(configuration: Model, changes: Sequence[str]) -> Model:
    """A configuration with some fields set otherwise.

    Parameters
    ----------
    configuration : Model
    changes : sequence of str
        As NAME=VALUE, the value in YAML.

    Raises
    ------
    ConfigurationError
        If one has another form, or does not fit; the message has the closest names of an unknown field.
    """
    fields = configuration.model_dump()
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not name.strip():
            raise ConfigurationError(f"set: expected NAME=VALUE, such as maps=[3,17], found '{change}'")
        fields[name.strip()] = _parsed(value, f"set {name.strip()}")[1]
    return validated(type(configuration), fields, lambda place: "set")


def _parsed(text: str, where: str) -> tuple[yaml.Node | None, Any]:
    """The nodes of a YAML text, and what they mean. ConfigurationError if it is none."""
    try:
        loader = _PlainLoader(text)
        node = loader.get_single_node()
        return node, None if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as reason:
        mark = reason.problem_mark or reason.context_mark
        line = f":{mark.line + 1}" if mark is not None else ""
        raise ConfigurationError(
            f"{where}{line}: expected YAML; {_one_line(reason.problem or reason.context)}"
        ) from reason
    # PyYAML lets about anything out for scalars of a wrong form: ValueError, KeyError, IndexError, AttributeError.
    except Exception as reason:
        raise ConfigurationError(
            f"{where}: expected YAML, found a value that cannot be read ({_one_line(reason)})"
        ) from reason


class _PlainLoader(yaml.SafeLoader):
    """Plain YAML: values as they are written, no key twice, not nested deep.

    No aliases, with which a short file can mean gigabytes; no merge keys, which hide a field that is there twice; no
    tags that make bytes, sets or pairs, which no field takes; no endless whole numbers.
    """

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise self._refused("found an alias (*name); write the value out")
        tag = getattr(self.peek_event(), "tag", None)
        if tag is not None and tag not in _TAGS:
            raise self._refused(f"could not determine what the tag {reprlib.repr(tag)} means; write the value alone")
        if self._depth == _DEEPEST_YAML:
            raise self._refused(f"found more than {_DEEPEST_YAML} levels in each other")
        self._depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self._depth -= 1

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value:
            if key.tag == _MERGE:
                raise yaml.MarkedYAMLError(
                    problem="found a merge key (<<); write the fields out", problem_mark=key.start_mark
                )
            name = self.construct_object(key, deep=True)
            if not isinstance(name, Hashable):
                break  # for the base class to refuse
            # By value: 1 and 0x1 are the same key.
            if name in seen:
                raise yaml.MarkedYAMLError(problem=f"found {_SHORT.repr(name)} twice", problem_mark=key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        if len(node.value) > _LONGEST_INTEGER:
            raise ValueError(f"a whole number of {len(node.value):,} characters")
        return int(super().construct_yaml_int(node))

    def _refused(self, problem: str) -> yaml.MarkedYAMLError:
        return yaml.MarkedYAMLError(problem=problem, problem_mark=self.peek_event().start_mark)


_PlainLoader.add_constructor("tag:yaml.org,2002:int", _PlainLoader.construct_yaml_int)


def _one_line(problem: object) -> str:
    """A problem as one line that a terminal can show, and not a long one."""
    text = "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(problem).split()))
    return text if len(text) <= _LONGEST_MESSAGE else text[:_LONGEST_MESSAGE] + "..."


def _line(node: yaml.Node | None, place: Sequence[int | str]) -> int:
    """The line on which a field stands, or what it would stand in."""
    line = 1 if node is None else node.start_mark.line + 1
    for step in place:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == step), None)
            if found is None:
                break
            line, node = found[0].start_mark.line + 1, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
            node = node.value[step]
            line = node.start_mark.line + 1
    return line


def validated(model: type[Model], fields: Any, where: Callable[[Sequence[int | str]], str]) -> Model:
    """Validate fields.

    Parameters
    ----------
    model : type
        What they should be.
    fields : Any
        A dictionary, if all is well.
    where : callable
        Says where a field stands, for the message.

    Raises
    ------
    ConfigurationError
        With the first problem, and the closest name if a field is unknown.
    """
    try:
        return model.model_validate(fields)
    except ValidationError as reason:
        # A misspelt field is unknown and missing at once: the first says more.
        first = min(reason.errors(), key=lambda error: error["type"] != "extra_forbidden")
        more = reason.error_count() - 1
        raise ConfigurationError(
            ": ".join(part for part in (where(first["loc"]), _one_line(_explain(model, first))) if part)
            + (f" (and {more} more)" if more else "")
        ) from reason


def _explain(model: type[BaseModel], error: ErrorDetails) -> str:
    """What is wrong, in words."""
    place = ".".join(str(step) for step in error["loc"])
    # By us: the field's name is in it.
    if error["type"] == "value_error":
        return f"{place}: " * bool(place) + error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        hint = closest(str(error["loc"][-1]), _fields(model, error["loc"][:-1]))
        return f"{place}: unknown field{hint}; correct or remove it"
    if error["type"] == "missing":
        return f"{place}: missing; add it"
    found, hint = _SHORT.repr(error["input"]), ""
    if error["type"] == "too_short":
        return f"{place}: " * bool(place) + f"expected at least {error['ctx']['min_length']} of them, found {found}"
    if error["type"] == "model_type":
        return f"{place}: " * bool(place) + f"expected fields, as in 'name: value', found {found}"
    if error["type"] == "literal_error" and isinstance(error["input"], str):
        hint = closest(error["input"], re.findall("'([^']+)'", error["msg"]))
    expected = re.sub("^Input should be (greater|less)", r"expected a number \1", error["msg"])
    return f"{place}: " * bool(place) + f"{expected.replace('Input should be', 'expected')}, found {found}{hint}"


def _fields(model: type[BaseModel], place: tuple[int | str, ...]) -> list[str]:
    """Names of the fields that exist at a place within a model."""
    here: Any = model
    for step in place:
        if isinstance(here, type) and issubclass(here, BaseModel):
            here = here.model_fields[str(step)].annotation
        else:
            here = typing.get_args(here)[-1]
        if isinstance(here, types.UnionType):
            here = next((kind for kind in typing.get_args(here) if kind is not type(None)), here)
    return list(here.model_fields) if isinstance(here, type) and issubclass(here, BaseModel) else []
