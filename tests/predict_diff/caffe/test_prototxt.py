"""Descriptions of more layers than a network has are refused before they take time and memory."""

from __future__ import annotations

import pytest
from google.protobuf import text_format

from predict_diff.caffe.prototxt import LAYERS_AT_MOST, parse
from predict_diff.errors import ConversionError


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("layer{}" * 1_000_000, 1),
        ("layers {}\n" * 1_000_000, LAYERS_AT_MOST + 1),
        ("layer: [" + "{}," * 1_000_000 + "{}]", 1),
        ("layer { } layers < >\n" * 500_000, LAYERS_AT_MOST // 2 + 1),
    ],
    ids=["one line", "V1", "list", "both"],
)
def test_a_million_layers_never_reach_the_parser(text: str, line: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(text_format, "Parse", lambda *_: pytest.fail("parsed"))
    with pytest.raises(ConversionError, match=rf"^net.prototxt:{line}: expected at most 20,000 layers, found more"):
        parse(text, "net.prototxt")


def test_as_many_layers_as_allowed_are_parsed_and_blocks_within_them_do_not_count() -> None:
    text = 'layer { name: "a" relu_param { } include { } }\n' * LAYERS_AT_MOST
    net, layout = parse(text, "net.prototxt")
    assert len(net.layer) == len(layout.layers) == LAYERS_AT_MOST
