"""Prototxt: protocol buffers' text format, with errors that say where and what was meant."""

from __future__ import annotations

import re
from bisect import bisect_left
from dataclasses import dataclass

from google.protobuf import text_format

from ..errors import ConversionError, closest
from . import caffe_pb2

#: Layers of a description. The largest published networks have a few thousand.
LAYERS_AT_MOST = 20_000

_DEPTH_AT_MOST = 50  # Caffe's messages nest seven deep.

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    |(?P<comment>\#[^\n]*)
    |(?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
    |(?P<open>[{<])
    |(?P<close>[}>])
    |(?P<word>\w+)
    |(?P<other>.)""",
    re.VERBOSE | re.DOTALL,
)
_SURROGATE = re.compile("[\ud800-\udfff]")
# "line:column : 'the whole line': reason"; the excerpt is left out by some errors.
_PARSE_ERROR = re.compile(r"(\d+):\d+ : (?:'.*': )?(.*)", re.DOTALL)
_NO_FIELD = re.compile(r'Message type "([\w.]+)" has no field named "(.*)"')
_NO_VALUE = re.compile(r'Enum type "([\w.]+)" has no value named (.*)\.$')
_TWICE = re.compile(r'Message type "([\w.]+)" should not have multiple "(\w+)" fields')


@dataclass(frozen=True)
class Layout:
    """Where things stand in a description.

    Attributes
    ----------
    layers : list of int
        1-based line on which each top-level ``layer`` or ``layers`` block starts, in file order.
    input : int or None
        Line of the first top-level ``input``.
    """

    layers: list[int]
    input: int | None


def decode(raw: bytes, name: str) -> str:
    """The text of a description.

    Comments may be in any encoding, as for Caffe; everything else is UTF-8.

    Raises
    ------
    ConversionError
        If the bytes are not text, or a name is not UTF-8.
    """
    if re.search(rb"[\x00-\x08\x0e-\x1f]", raw):
        raise ConversionError(
            f"{name}: expected a description (prototxt, a text), found a binary file; "
            "give the description here and the .caffemodel as weights"
        )
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("utf-8-sig", "surrogateescape")
    for token in _TOKEN.finditer(text):
        if token.lastgroup != "comment" and _SURROGATE.search(token[0]):
            line = text.count("\n", 0, token.start()) + 1
            raise ConversionError(
                f"{name}:{line}: expected UTF-8 outside comments, found other bytes; save it as UTF-8"
            )
    return _SURROGATE.sub("?", text)


def parse(text: str, name: str) -> tuple[caffe_pb2.NetParameter, Layout]:
    """Parse a description of any generation.

    Parameters
    ----------
    text : str
        Protocol buffers' text format.
    name : str
        Of the file, for messages.

    Returns
    -------
    net : NetParameter
        As written; see `predict_diff.caffe.upgrade`.
    layout : Layout

    Raises
    ------
    ConversionError
        If a field or value is unknown or of a wrong type, a required one is missing, a block is not closed, or there
        are more layers than a network has, which are refused before they take memory.
    """
    layout = _layout(text, name)
    net = caffe_pb2.NetParameter()
    try:
        text_format.Parse(text, net)
    except text_format.ParseError as error:
        raise ConversionError(f"{name}:{_explain(str(error))}") from None
    except RecursionError:
        raise ConversionError(f"{name}: expected a description, found blocks inside blocks without end") from None
    for missing in net.FindInitializationErrors():
        raise ConversionError(f"{name}:{_line_of(missing, layout)}: expected {missing}, found none; add it")
    return net, layout


def _layout(text: str, name: str) -> Layout:
    """One pass over the tokens, for the positions, which protobuf's own parser does not tell."""
    newlines = [match.start() for match in re.finditer("\n", text)]
    layers: list[int] = []
    opened: list[int] = []
    first_input = None
    field = ""
    heading: int | None = None
    for token in _TOKEN.finditer(text):
        line = bisect_left(newlines, token.start()) + 1
        if token.lastgroup == "word" and not opened:
            field, heading = token[0], line
            if field == "input" and first_input is None:
                first_input = line
        elif token.lastgroup == "open":
            if not opened and field in ("layer", "layers"):
                # In a list, `layer: [{...}, {...}]`, only the first block has the field's name in front.
                layers.append(line if heading is None else heading)
                heading = None
                if len(layers) > LAYERS_AT_MOST:
                    raise ConversionError(
                        f"{name}:{line}: expected at most {LAYERS_AT_MOST:,} layers, found more; is this the "
                        f"description of a network?"
                    )
            opened.append(line)
            if len(opened) > _DEPTH_AT_MOST:
                raise ConversionError(
                    f"{name}:{line}: expected a description, found more than {_DEPTH_AT_MOST} blocks inside blocks"
                )
        elif token.lastgroup == "close":
            if not opened:
                raise ConversionError(f"{name}:{line}: expected no closing brace, found one without a block; remove it")
            opened.pop()
        elif token[0] in ("'", '"'):
            raise ConversionError(f"{name}:{line}: expected a closing quote on the same line, found none; add it")
    if opened:
        raise ConversionError(
            f"{name}:{opened[-1]}: expected a closing brace for the block that opens here, found the end of the file"
        )
    return Layout(layers, first_input)


def _explain(error: str) -> str:
    """``line: expected, found (did you mean)`` from a message of protobuf's parser."""
    match = _PARSE_ERROR.fullmatch(error)
    line, reason = match.groups() if match else ("1", error)
    pool = caffe_pb2.DESCRIPTOR.pool
    if match := _NO_FIELD.match(reason):
        message, field = match.groups()
        hint = closest(field, pool.FindMessageTypeByName(message).fields_by_name)
        return f"{line}: expected a field of {_short(message)}, found {field!r}{hint}"
    if match := _NO_VALUE.match(reason):
        enumeration, value = match[1], match[2].strip("\"'")
        hint = closest(value, pool.FindEnumTypeByName(enumeration).values_by_name)
        return f"{line}: expected a value of {_short(enumeration)}, found {value!r}{hint}"
    if match := _TWICE.match(reason):
        message, field = match.groups()
        return f"{line}: expected {field!r} of {_short(message)} once, found it twice; keep one"
    return f"{line}: expected protobuf's text format; its parser says: {' '.join(reason.split())[:200]}"


def _short(full_name: str) -> str:
    """``PoolingParameter.PoolMethod`` for ``predict_diff.caffe.PoolingParameter.PoolMethod``."""
    return full_name.removeprefix(f"{caffe_pb2.DESCRIPTOR.package}.")


def _line_of(missing: str, layout: Layout) -> int:
    """Line of the layer in which a required field is missing; protobuf names it ``layer[3].clip_param.max``."""
    match = re.match(r"layers?\[(\d+)\]", missing)
    return layout.layers[int(match[1])] if match else 1
