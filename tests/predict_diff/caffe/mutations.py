"""Damaged and absurd Caffe files, made from good ones: the same number always gives the same pair of files."""

from __future__ import annotations

import gzip
import io
import random
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from google.protobuf.message import DecodeError

from predict_diff.caffe.caffe_pb2 import LayerParameter, NetParameter
from predict_diff.caffe.layers import INPUT_TYPES, LAYER_TYPES

GOLDENS = Path(__file__).parents[2] / "goldens"

SEEDS = sorted(path for path in GOLDENS.rglob("weights*.caffemodel*"))
"""Good weights, each beside its description; of every generation, and one in HDF5."""

BINARY_SEEDS = [path for path in SEEDS if path.suffix != ".h5"]

ABSURD = (
    *("0", "-1", "-2", "1", "2", "3", "7", "33", "65536", "2147483647", "2147483648", "4294967295", "1e38", "1e-46"),
    *("nan", "inf", "-inf", "-2147483648", "-9223372036854775808", "9223372036854775807", "99999999999999999999"),
)
SETTINGS = (
    *("axis: -1", "axis: 0", "axis: 2147483647", "num_axes: 0", "dim: 0", "dim: -1", "dim: 46341", "slice_point: 1"),
    *("kernel_size: 3", "pad: 2", "pad: 4294967295", "stride: 5", "dilation: 2", "group: 2", "num_output: 2147483647"),
    *("global_pooling: true", "pool: AVE", "bias_term: false", "operation: MAX", "operation: ASUM", "coeff: 2"),
    *("top_k: 2", 'bottom: "data"', 'top: "data"', 'name: "data"', "phase: TRAIN", 'type: "Input"'),
    *("include { phase: TRAIN }", 'param { name: "shared" }', 'input: "data"', "input_dim: 2147483647"),
)
OTHER_KINDS = (
    b"",
    b"\n",
    b"<!DOCTYPE html><html><body>404</body></html>",
    b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
    b"PK\x03\x04" + bytes(64),
    b"\x80\x02}q\x00.",
    b"\x93NUMPY\x01\x00\x10\x00{'descr': '<f4'}\n",
    b"\x89HDF\r\n\x1a\n" + bytes(512),
    b"\x1f\x8b" + bytes(32),
    bytes(4096),
    b"\xff" * 4096,
)


@dataclass(frozen=True)
class Pair:
    """What lies in a description and in a weights file."""

    description: bytes
    weights: bytes

    @property
    def size(self) -> int:
        """Bytes of the larger of the two."""
        return max(len(self.description), len(self.weights))


def mutated(number: str) -> Pair:
    """A pair of files of which at least one is not what it was."""
    dice = random.Random(number)
    # The one in HDF5 needs a process of its own each time.
    seed = dice.choice(SEEDS if dice.random() < 0.5 else BINARY_SEEDS)
    text, weights = (seed.parent / "deploy.prototxt").read_text("utf-8"), seed.read_bytes()
    in_text = dice.random() < 0.6
    for _ in range(dice.choice([1, 1, 1, 1, 2, 3]) if in_text else 0):
        text = dice.choice(OF_TEXTS)(text, dice)
    description = text.encode("utf-8", "surrogatepass")
    if dice.random() < 0.015:
        weights = as_hdf5(weights, dice)
    for _ in range(0 if in_text and dice.random() < 0.8 else dice.choice([1, 1, 2])):
        weights = dice.choice(OF_WEIGHTS)(weights, dice)
    if dice.random() < 0.05:
        description = dice.choice(OF_BYTES)(description, dice)
    return Pair(weights, description) if dice.random() < 0.01 else Pair(description, weights)


# --- descriptions ---------------------------------------------------------------------------------------------------


def exchange(text: str, pattern: str, other: str, dice: random.Random) -> str:
    """One of the places where a pattern is found, filled with another text."""
    found = list(re.finditer(pattern, text))
    if not found:
        return text
    place = dice.choice(found)
    return text[: place.start()] + other + text[place.end() :]


def numbers(text: str, dice: random.Random) -> str:
    """One number for another."""
    return exchange(text, r"-?\d+(\.\d+)?", dice.choice(ABSURD), dice)


def words(text: str, dice: random.Random) -> str:
    """A name or type for another of the file: doubled names, bottoms that come later, cycles."""
    return exchange(text, r'"[^"]*"', dice.choice(re.findall(r'"[^"]*"', text) or ['""']), dice)


def names(text: str, dice: random.Random) -> str:
    """A name that no one would give."""
    return exchange(
        text, r'"[^"]*"', dice.choice(['""', '"\\000"', '"\\377"', '"\u202e/../é"', f'"{"x" * 9999}"']), dice
    )


def types(text: str, dice: random.Random) -> str:
    """Another layer type, with the settings of the old one."""
    return exchange(text, r'type: "\w+"', f'type: "{dice.choice([*LAYER_TYPES, *INPUT_TYPES])}"', dice)


def settings(text: str, dice: random.Random) -> str:
    """A setting more."""
    return exchange(text, r"\{", f"{{ {dice.choice(SETTINGS)} ", dice)


def ends(text: str, dice: random.Random) -> str:
    """A bottom for a top, or the other way round."""
    return exchange(text, r"\b(bottom|top)\b", dice.choice(["bottom", "top"]), dice)


def lines(text: str, dice: random.Random) -> str:
    """A line lost, doubled, moved, or a thousand times there."""
    return _shuffled(text.splitlines(keepends=True), dice)


def blocks(text: str, dice: random.Random) -> str:
    """A layer lost, doubled, moved, or a thousand times there."""
    return _shuffled(re.split(r"(?m)^(?=layers?\b)", text), dice)


def _shuffled(parts: list[str], dice: random.Random) -> str:
    parts = parts or [""]
    part, place = parts.pop(dice.randrange(len(parts))), dice.randrange(len(parts) + 1)
    return "".join(parts[:place] + [part] * dice.choice([0, 0, 1, 1, 2, 2, 1000]) + parts[place:])


def grown(text: str, dice: random.Random) -> str:
    """A layer more, of any type, with settings and sizes that may be absurd."""
    kind = dice.choice(sorted(LAYER_TYPES))
    found = re.findall(r'top: "([^"]*)"', text) or ["data"]
    ends = [f'bottom: "{dice.choice(found)}"' for _ in range(dice.choice([0, 1, 1, 1, 1, 2, 3]))]
    ends += [f'top: "grown{index}"' for index in range(dice.choice([0, 1, 1, 1, 1, 2]))]
    if dice.random() < 0.3:
        text = exchange(text, r"\bdim: \d+", f"dim: {dice.choice([1, 2, 9, 500, 30_000, 2**20])}", dice)
    return f'{text}\nlayer {{ name: "grown" type: "{kind}" {" ".join(ends)} {_settings_of(kind, dice)} }}\n'


def _settings_of(kind: str, dice: random.Random) -> str:
    """Some of the settings of a layer type, with any values."""
    fields = {field.name.removesuffix("_param").replace("_", ""): field for field in LayerParameter.DESCRIPTOR.fields}
    field = fields.get(kind.lower())
    if field is None or field.message_type is None:
        return ""
    chosen = dice.sample(list(field.message_type.fields), dice.randrange(len(field.message_type.fields) + 1))
    return f"{field.name} {{ {' '.join(_setting(one, dice) for one in chosen)} }}"


def _setting(field: Any, dice: random.Random) -> str:
    if field.message_type is not None:
        return f"{field.name} {{ }}"
    if field.enum_type is not None:
        return f"{field.name}: {dice.choice(list(field.enum_type.values_by_name))}"
    if field.cpp_type == field.CPPTYPE_BOOL:
        return f"{field.name}: {dice.choice(['true', 'false'])}"
    usual = ["0", "1", "1", "2", "2", "3", "4", "7"]
    return f"{field.name}: {dice.choice([*usual, *usual, '300', '32767', *ABSURD])}"


def characters(text: str, dice: random.Random) -> str:
    """A character for another, or the end lost."""
    place = dice.randrange(len(text) + 1)
    return text[:place] + dice.choice(["", text[place:] and chr(dice.randrange(1, 256)) + text[place + 1 :]])


def depth(text: str, dice: random.Random) -> str:
    """Blocks inside blocks."""
    place, count = dice.randrange(len(text) + 1), dice.choice([2, 40, 60, 5000])
    return text[:place] + "layer {" * count + "}" * (count * dice.choice([0, 1])) + text[place:]


OF_TEXTS: list[Callable[[str, random.Random], str]] = [
    *(grown, grown, grown, grown),
    *(numbers, numbers, numbers, types, types, settings, settings),
    *(words, words, names, ends, lines, blocks, characters, depth),
]


# --- any file -------------------------------------------------------------------------------------------------------


def damaged(content: bytes, dice: random.Random) -> bytes:
    """Some bytes for others."""
    changed = bytearray(content)
    for _ in range(dice.choice([1, 1, 2, 8, 64]) if content else 0):
        changed[dice.randrange(len(changed))] = dice.choice([0, 0x7F, 0x80, 0xFF, dice.randrange(256)])
    return bytes(changed)


def flipped(content: bytes, dice: random.Random) -> bytes:
    """A bit for the other, mostly where sizes and names stand."""
    if not content:
        return content
    changed = bytearray(content)
    changed[dice.randrange(min(len(content), dice.choice([64, 512, 2**30])))] ^= 1 << dice.randrange(8)
    return bytes(changed)


def truncated(content: bytes, dice: random.Random) -> bytes:
    """The end lost."""
    return content[: dice.randrange(len(content) + 1)]


def continued(content: bytes, dice: random.Random) -> bytes:
    """Something behind the end."""
    return content + dice.choice([content, *OTHER_KINDS])


def of_another_kind(content: bytes, dice: random.Random) -> bytes:
    """Another file altogether."""
    return dice.choice([*OTHER_KINDS, dice.choice(SEEDS).read_bytes(), dice.randbytes(dice.randrange(2000))])


def packed(content: bytes, dice: random.Random) -> bytes:
    """A gzip archive, which may be damaged."""
    archive = gzip.compress(content, 1, mtime=0)
    return dice.choice([archive, truncated(archive, dice), damaged(archive, dice), gzip.compress(archive, 1, mtime=0)])


OF_BYTES: list[Callable[[bytes, random.Random], bytes]] = [
    *(damaged, damaged, flipped, flipped, truncated, continued, of_another_kind, packed),
]


# --- weights --------------------------------------------------------------------------------------------------------


def announced(content: bytes, dice: random.Random) -> bytes:
    """A length or number of two gigabytes or more, where another may have stood."""
    place = dice.randrange(len(content) + 1)
    length = dice.choice([b"\xff\xff\xff\xff\x07", b"\x80\x80\x80\x80\x08", b"\xff" * 9 + b"\x01", b"\xff" * 12])
    return content[:place] + length + content[place + dice.choice([0, 1, len(length)]) :]


def no_numbers(content: bytes, dice: random.Random) -> bytes:
    """NaN or infinity where four bytes stood."""
    place = dice.randrange(len(content) + 1)
    return content[:place] + np.float32(dice.choice(["nan", "inf", "-inf"])).tobytes() + content[place + 4 :]


def restated(content: bytes, dice: random.Random) -> bytes:
    """Sound protocol buffers that say something else of an array or a layer."""
    if (net := parsed(content)) is None:
        return content
    layers = net.layer or net.layers
    layer = dice.choice(list(layers))
    holder = layer.layer if net.layers and layer.HasField("layer") else layer
    blobs = list(holder.blobs)
    if not blobs or dice.random() < 0.3:
        holder.name = dice.choice(["", "data", "conv1", "x" * 2000, "a/b", *(str(other.name) for other in layers)])
        if dice.random() < 0.3:
            layers.add().CopyFrom(layer)
        return bytes(net.SerializeToString())
    dice.choice([_reshaped, _refilled, _recounted])(holder, dice.choice(blobs), dice)
    return bytes(net.SerializeToString())


def as_hdf5(content: bytes, dice: random.Random) -> bytes:
    """The same weights in HDF5, in one of its layouts, sometimes damaged."""
    if (net := parsed(content)) is None:
        return damaged(content, dice)
    layout = dice.choice([{}, {"chunks": True}, {"compression": "gzip", "shuffle": True}, {"fletcher32": True}])
    file = io.BytesIO()
    with h5py.File(file, "w", libver=dice.choice(["earliest", "latest"])) as root:
        for layer in {layer.name: layer for layer in net.layer}.values():
            group = root.require_group(f"data/{layer.name or 'layer'}")
            for index, blob in enumerate(layer.blobs):
                data = np.array(blob.data or blob.double_data or [0], dice.choice(["f4", "f4", "f8", "i4", "f2"]))
                group.create_dataset(str(index), data=data, **layout)
    return dice.choice([damaged, flipped, truncated, lambda whole, _: whole])(file.getvalue(), dice)


def parsed(content: bytes) -> Any:
    """Weights as protocol buffers; None if they are not, or have no layers."""
    try:
        net = NetParameter.FromString(content)
    except DecodeError:
        return None
    return net if net.layer or net.layers else None


def _reshaped(holder: Any, blob: Any, dice: random.Random) -> None:
    sizes = [0, 1, -1, 3, 65536, 2**31 - 1, 2**31, 2**62, -(2**63)]
    if dice.random() < 0.7:
        blob.shape.dim.extend([dice.choice(sizes)] * dice.choice([1, 1, 2, 40]))
    else:
        blob.ClearField("shape")
        blob.num, blob.channels = (dice.choice([0, 1, -1, 65536, 2**31 - 1]) for _ in range(2))


def _refilled(holder: Any, blob: Any, dice: random.Random) -> None:
    field = dice.choice([blob.data, blob.double_data])
    field.extend([dice.choice([0, 1e-45, 3e38, float("nan"), float("-inf")])] * dice.choice([1, 1, 100]))
    if dice.random() < 0.3:
        blob.diff.extend(blob.data)


def _recounted(holder: Any, blob: Any, dice: random.Random) -> None:
    if dice.random() < 0.5:
        holder.blobs.remove(blob)
    else:
        holder.blobs.extend([blob] * dice.choice([1, 2, 50]))


OF_WEIGHTS: list[Callable[[bytes, random.Random], bytes]] = [
    *OF_BYTES,
    *(announced, announced, no_numbers, *[restated] * 6),
]


# --- extremes -------------------------------------------------------------------------------------------------------

_INPUT = b'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 1 dim: 3 dim: 8 dim: 8 } } }\n'
_RELU = b'layer { name: "l%d" type: "ReLU" bottom: "%s" top: "l%d" }\n'


_SHARING = (
    b'layer { name: "l%d" type: "InnerProduct" bottom: "data" top: "l%d" param { name: "shared" } '
    b"inner_product_param { num_output: 12500 bias_term: false } }\n"
)


def _chain(count: int) -> bytes:
    return _INPUT + b"".join(_RELU % (i, b"l%d" % (i - 1) if i else b"data", i) for i in range(count))


def _message(number: int, content: bytes, length: int | None = None) -> bytes:
    """A protocol buffers field of bytes, which may state another length than it has."""
    return _varint(number << 3 | 2) + _varint(len(content) if length is None else length) + content


def _array(sizes: list[int], data: bytes) -> bytes:
    return _message(7, _message(1, b"".join(map(_varint, sizes)))) + _message(5, data)


def _varint(value: int) -> bytes:
    low, rest = value & 0x7F, value >> 7
    return bytes([low | 0x80]) + _varint(rest) if rest else bytes([low])


def _weights(*layers: bytes) -> bytes:
    return b"".join(_message(100, layer) for layer in layers)


def _layer(name: bytes, *blobs: bytes) -> bytes:
    return _message(1, name) + b"".join(_message(7, blob) for blob in blobs)


_SOUND = _weights(_layer(b"data"))
_FOUR = np.ones(4, "<f4").tobytes()

EXTREMES: dict[str, Callable[[], Pair]] = {
    "a chain of 19,000 layers": lambda: Pair(_chain(19_000), _SOUND),
    "a chain of 25,000 layers": lambda: Pair(_chain(25_000), _SOUND),
    "a million layers": lambda: Pair(b"layer{}" * 10**6, _SOUND),
    "a quarter of a million layers": lambda: Pair(b"layer{}" * 280_000, _SOUND),
    "a quarter of a million layers of 2014": lambda: Pair(b"layers{}" * 250_000, _SOUND),
    "a hundred thousand layers of 2013": lambda: Pair(b"layers{layer{}}" * 130_000, _SOUND),
    "a quarter of a million inputs": lambda: Pair(b'input:""' * 250_000 + b"input_dim:1", _SOUND),
    "two hundred thousand bottoms": lambda: Pair(_INPUT + b"layer{" + b"bottom:'a'" * 200_000 + b"}", _SOUND),
    "a quarter of a million sizes": lambda: Pair(_INPUT.replace(b"dim: 3", b"dim:8 " * 250_000), _SOUND),
    "two hundred thousand rules": lambda: Pair(b"layer{" + b"include{}" * 200_000 + b"}", _SOUND),
    "half a million comments": lambda: Pair(b"#a\n" * 600_000 + _INPUT, _SOUND),
    "half a million lines": lambda: Pair(b" #\n" * 500_000 + _INPUT, _SOUND),
    "a quarter of a million strings in one": lambda: Pair(b"name: " + b'"" \n' * 400_000 + _INPUT, _SOUND),
    "a name of two megabytes": lambda: Pair(b'name: "' + b"x" * 2_000_000 + b'"' + _INPUT, _SOUND),
    "a number of two megabytes": lambda: Pair(b"input_dim: " + b"9" * 2_000_000, _SOUND),
    "a comment of two megabytes": lambda: Pair(b"#" * 2_000_000, _SOUND),
    "two megabytes of quotes": lambda: Pair(b'"' * 2_000_000, _SOUND),
    "two megabytes of backslashes": lambda: Pair(b'name: "' + b"\\" * 2_000_000, _SOUND),
    "two megabytes of spaces": lambda: Pair(b" " * 2_000_000, _SOUND),
    "two megabytes of opening braces": lambda: Pair(b"{" * 2_000_000, _SOUND),
    "two megabytes of bytes that are not UTF-8": lambda: Pair(b"# \xff\n" * 500_000, _SOUND),
    "a description of twenty megabytes": lambda: Pair(b" " * 20_000_000, _SOUND),
    "a cycle": lambda: Pair(_INPUT + _RELU % (0, b"l1", 0) + _RELU % (1, b"l0", 1), _SOUND),
    "a layer that is its own bottom": lambda: Pair(_INPUT + _RELU % (0, b"l0", 0), _SOUND),
    "weights of a million layers": lambda: Pair(_chain(3), _weights(*[b""] * 10**6)),
    "weights of a hundred thousand layers": lambda: Pair(
        _chain(3), _weights(*(_layer(b"l%d" % i) for i in range(100_000)))
    ),
    "weights of ten million tiny fields": lambda: Pair(_chain(3), b"\x08\x01" * 10**7),
    "weights with a million numbers, each a field": lambda: Pair(
        _chain(3), _weights(_layer(b"l0", b"".join(b"\x2d" + _FOUR[:4] for _ in range(10**6))))
    ),
    "weights with a million arrays": lambda: Pair(_chain(3), _weights(_layer(b"l0", *[b""] * 10**6))),
    "weights with a million parts of an array": lambda: Pair(
        _chain(3), _weights(_layer(b"l0", _message(5, _FOUR) * 400_000))
    ),
    "a length of two gigabytes": lambda: Pair(_chain(3), _message(100, b"", 2**31)),
    "a length of two gigabytes inside a layer": lambda: Pair(_chain(3), _weights(_message(7, b"", 2**31))),
    "a length of sixteen exabytes": lambda: Pair(_chain(3), _message(100, b"", 2**64 - 1)),
    "an array of two giga numbers": lambda: Pair(
        _chain(3), _weights(_layer(b"l0", _message(5, _FOUR) + _message(7, _message(1, _varint(2**31 - 1)))))
    ),
    "an array whose size overflows": lambda: Pair(
        _chain(3),
        _weights(_layer(b"l0", _message(5, _FOUR) + _message(7, _message(1, _varint(2**32) + _varint(2**32))))),
    ),
    "weights that thirty layers share": lambda: Pair(
        _INPUT + b"".join(_SHARING % (i, i) for i in range(30)),
        _weights(_layer(b"l0", _array([12_500, 192], np.ones((12_500, 192)).astype("<f4").tobytes()))),
    ),
    "groups, which Caffe never wrote": lambda: Pair(_chain(3), b"\x0b" * 10**6),
    "a gzip bomb": lambda: Pair(_chain(3), gzip.compress(bytes(2**28), 9, mtime=0)),
    "a gzip bomb for a description": lambda: Pair(gzip.compress(bytes(2**26), 9, mtime=0), _SOUND),
    "an HDF5 bomb": lambda: Pair(_chain(3), hdf5_bomb()),
    "180 megabytes of weights in a gzip archive": lambda: Pair(
        _chain(3), gzip.compress(_weights(_layer(b"l0", _message(5, bytes(180_000_000)))), 1, mtime=0)
    ),
    "an HDF5 file with a hundred thousand groups": lambda: Pair(_chain(3), hdf5_of_groups(100_000)),
    "description and weights swapped": lambda: Pair(_SOUND, _chain(3)),
    "nothing": lambda: Pair(b"", b""),
}
"""Files that no generator of small damages finds, by what is wrong with them."""


def hdf5_bomb() -> bytes:
    """A gigabyte of zeros, compressed, in a small file."""
    file = io.BytesIO()
    with h5py.File(file, "w") as root:
        root.create_dataset("data/l0/0", (2**28,), "f4", chunks=(2**20,), compression="gzip")[: 2**20] = 0
    return file.getvalue()


def hdf5_of_groups(count: int) -> bytes:
    """So many layers."""
    file = io.BytesIO()
    with h5py.File(file, "w", libver="latest") as root:
        data = root.create_group("data")
        for index in range(count):
            data.create_group(f"l{index}")
    return file.getvalue()
