"""Caffe's files are read as protobuf and HDF5 read them; whatever is wrong with one is said in a line."""

import gzip
import hashlib
import io
import os
import tracemalloc
from pathlib import Path

import h5py
import numpy as np
import pytest
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from predict_diff.caffe import caffe_pb2, files, hdf5_process
from predict_diff.caffe.reader import Description, read_description, read_mean, read_weights
from predict_diff.errors import ConversionError, PredictDiffError

GOLDENS = Path(__file__).parents[2] / "goldens"
SMALL = GOLDENS / "layers" / "hdf5_weights" / "weights.caffemodel"
V0 = GOLDENS / "v0_padding" / "weights.caffemodel"
PROTOTXT = (GOLDENS / "v0_padding" / "deploy.prototxt").read_bytes()
VGG = (GOLDENS / "mini_vgg" / "deploy.prototxt").read_bytes()


@pytest.fixture
def write(tmp_path):
    """Write bytes, a text or a message to a file and give its path."""

    def write(content, name="net.caffemodel"):
        path = tmp_path / name
        if hasattr(content, "SerializeToString"):
            content = content.SerializeToString()
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write


def one_layer(**blob):
    """A weights file with one layer of one blob."""
    return caffe_pb2.NetParameter(layer=[{"name": "fc", "type": "InnerProduct", "blobs": [blob]}])


def tagged(number, content):
    """A length-delimited field."""
    return varint(number << 3 | 2) + varint(len(content)) + content


def varint(value):
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(encoded) + bytes([value])


def refusal(function, path):
    with pytest.raises(ConversionError) as error:
        function(path)
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(str(path))
    assert "expected" in message
    return message


class TestWeights:
    @pytest.mark.parametrize(
        "path", sorted(GOLDENS.rglob("*.caffemodel")), ids=lambda path: str(path.relative_to(GOLDENS).with_suffix(""))
    )
    def test_blobs_are_those_that_protobuf_reads(self, path):
        assert_same_as_protobuf(path)

    def test_types_have_their_current_names_in_every_generation(self):
        current = {name: layer.type for name, layer in read_weights(SMALL).layers.items()}
        v1 = read_weights(GOLDENS / "mini_vgg" / "weights.caffemodel").layers
        v0 = read_weights(GOLDENS / "v0_lenet" / "weights.caffemodel").layers
        assert "Convolution" in current.values()
        assert v1["conv1_1"].type == v0["conv1"].type == "Convolution"
        assert v0["ip1"].type == v1["fc6"].type == "InnerProduct"

    def test_blobs_are_views_of_the_file(self):
        blob = next(layer.blobs[0] for layer in read_weights(SMALL).layers.values() if layer.blobs)
        assert not blob.flags.owndata
        assert not blob.flags.writeable

    def test_sha256_is_of_the_file(self):
        assert read_weights(SMALL).sha256 == hashlib.sha256(SMALL.read_bytes()).hexdigest()

    def test_the_content_decides_and_not_the_name(self, write):
        assert_same_blobs(read_weights(write(SMALL.read_bytes(), "weights.bin")), read_weights(SMALL))

    def test_numbers_that_are_not_packed(self, write):
        values = np.linspace(-1, 1, 1000, dtype="<f4").reshape(-1, 1)
        unpacked = b"".join(b"\x2d" + value.tobytes() for value in values)
        sizes = b"\x08\x14" + b"\x08\x32"
        blob = unpacked[:50] + tagged(7, sizes) + unpacked[50:]
        path = write(tagged(100, tagged(1, b"fc") + tagged(7, blob)))
        assert np.array_equal(read_weights(path).layers["fc"].blobs[0], values.reshape(20, 50))

    def test_numbers_in_several_packs_are_joined(self, write):
        blob = b"".join(tagged(5, np.float32(value).tobytes()) for value in (1, 2, 3))
        path = write(tagged(100, tagged(7, blob + tagged(7, tagged(1, b"\x03")))))
        assert np.array_equal(read_weights(path).layers[""].blobs[0], [1, 2, 3])

    def test_doubles_that_are_not_packed(self, write):
        blob = b"".join(b"\x41" + np.float64(value).tobytes() for value in (0.5, 2))
        path = write(tagged(100, tagged(7, blob + tagged(7, tagged(1, b"\x02")))))
        assert np.array_equal(read_weights(path).layers[""].blobs[0], np.float32([0.5, 2]))

    def test_shape_goes_before_legacy_sizes_and_no_shape_is_a_scalar(self, write):
        net = one_layer(data=[1, 2], num=1, channels=1, height=1, width=2, shape={"dim": [2]})
        assert read_weights(write(net)).layers["fc"].blobs[0].shape == (2,)
        assert read_weights(write(one_layer(data=[0.25]))).layers["fc"].blobs[0].shape == ()

    def test_gradients_and_unknown_fields_are_passed_over(self, write):
        net = one_layer(data=[1], diff=[2], double_diff=[3], shape={"dim": [1]})
        path = write(net.SerializeToString() + tagged(4000, b"anything") + b"\xf8\xff\x03\x01")
        assert read_weights(path).layers["fc"].blobs[0] == [1]

    def test_a_name_may_come_twice_without_weights(self, write):
        net = caffe_pb2.NetParameter(layer=[{"name": "a"}, {"name": "b"}, {"name": "a"}])
        assert list(read_weights(write(net)).layers) == ["a", "b"]

    def test_arrays_outlive_the_reader(self, write):
        path = write(SMALL.read_bytes())
        first = next(layer.blobs[0] for layer in read_weights(path).layers.values() if layer.blobs)
        path.unlink()
        assert np.isfinite(first).all()


class TestGzip:
    def test_is_unpacked(self, write):
        packed = write(gzip.compress(SMALL.read_bytes()), "net.caffemodel.gz")
        weights = read_weights(packed)
        assert_same_blobs(weights, read_weights(SMALL))
        assert weights.sha256 == hashlib.sha256(packed.read_bytes()).hexdigest()

    def test_hdf5_inside(self, write):
        h5 = SMALL.with_suffix(".caffemodel.h5")
        assert_same_blobs(read_weights(write(gzip.compress(h5.read_bytes()))), read_weights(h5))

    def test_a_bomb_is_not_unpacked(self, write, monkeypatch):
        monkeypatch.setattr(files, "UNPACKED_BESIDES", 10**6)
        path = write(gzip.compress(bytes(3_000_000)))
        assert "a gzip archive of more than" in refusal(read_weights, path)

    def test_the_size_is_bounded_too(self, write):
        with (
            pytest.raises(ConversionError, match=r"more than 1,000,000 bytes"),
            files.open_file(write(gzip.compress(bytes(10**6 + 1))), "weights", 10**6),
        ):
            pass

    @pytest.mark.parametrize(
        "harm", [lambda raw: raw[:-20], lambda raw: raw[:100] + b"\x00" * 50 + raw[150:], lambda raw: raw[:5]]
    )
    def test_damaged(self, write, harm):
        refusal(read_weights, write(harm(gzip.compress(SMALL.read_bytes()))))

    def test_inside_gzip(self, write):
        twice = gzip.compress(gzip.compress(SMALL.read_bytes()))
        assert "found a gzip archive; unpack it first" in refusal(read_weights, write(twice))


class TestHdf5:
    H5 = SMALL.with_suffix(".caffemodel.h5")

    def test_holds_what_the_caffemodel_holds(self):
        binary = {name: layer.blobs for name, layer in read_weights(SMALL).layers.items() if layer.blobs}
        hdf5 = {name: layer.blobs for name, layer in read_weights(self.H5).layers.items() if layer.blobs}
        assert set(binary) == set(hdf5)
        for name, blobs in binary.items():
            for ours, theirs in zip(hdf5[name], blobs, strict=True):
                assert ours.dtype == np.float32
                assert np.array_equal(ours, theirs)

    def test_slashes_in_names_and_double_precision(self, write):
        path = write(hdf5_file({"data/inception_3a/1x1/0": np.ones((2, 3)), "data/inception_3a/1x1/1": np.zeros(2)}))
        blobs = read_weights(path).layers["inception_3a/1x1"].blobs
        assert [blob.shape for blob in blobs] == [(2, 3), (2,)]
        assert blobs[0].dtype == np.float32

    def test_many_blobs_stand_in_order_of_their_numbers(self, write):
        path = write(hdf5_file({f"data/lstm/{index}": np.full(1, index, np.float32) for index in range(12)}))
        assert [int(blob[0]) for blob in read_weights(path).layers["lstm"].blobs] == list(range(12))

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            ({"weights/a/0": np.ones(1)}, "no group /data"),
            ({"data/0": np.ones(1)}, "found no layers"),
            ({"data/a/1": np.ones(1, np.float32)}, "layer 'a' with arrays 1 where 0 to 0 should be"),
            ({"data/a/0": np.ones(1, np.int32)}, "layer 'a', blob 0 of type int32"),
            ({"data/a/0": np.array([b"text"])}, "layer 'a', blob 0 of type"),
            ({"data/a/0": np.array([1, np.nan])}, "NaN or infinity in layer 'a', blob 0"),
            ({"data/a/0": np.array([1e300])}, "NaN or infinity in layer 'a', blob 0"),
            ({"data/a/0": np.ones((0, 3), np.float32)}, "layer 'a', blob 0 without values"),
            ({"data/a/0": h5py.ExternalLink("/etc/passwd", "/x")}, "a link at /data/a/0"),
            ({"data/a/0": h5py.SoftLink("/data/b/0")}, "a link at /data/a/0"),
            ({"data": h5py.ExternalLink("/etc/passwd", "/x")}, "a link at //data"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_other_content(self, write, content, message):
        assert message in refusal(read_weights, write(hdf5_file(content)))

    def test_sizes_that_are_only_stated(self, write):
        """Nothing of the 4 TB is stored, or allocated."""
        with h5py.File(buffer := io.BytesIO(), "w") as root:
            root.create_dataset("data/a/0", (10**6, 10**6), np.float32)
        assert "beyond what such a file holds" in refusal(read_weights, write(buffer.getvalue()))

    def test_values_in_another_file(self, write, tmp_path):
        path = write(b"")
        with h5py.File(path, "w") as root:
            root.create_dataset("data/a/0", (4,), np.float32, external=[(str(tmp_path / "raw"), 0, 16)])
        assert "layer 'a', blob 0 stored in another file" in refusal(read_weights, path)

    def test_groups_linked_into_themselves(self, write):
        with h5py.File(buffer := io.BytesIO(), "w") as root:
            group = root.create_group("data/a")
            for index in range(40):
                group[f"self{index}"] = group
        assert "more groups" in refusal(read_weights, write(buffer.getvalue()))

    def test_truncated(self, write):
        refusal(read_weights, write(self.H5.read_bytes()[:3000]))

    def test_a_crash_of_the_library_is_told(self, monkeypatch, tmp_path):
        script = tmp_path / "crash.py"
        script.write_text("import os; os.abort()")
        monkeypatch.setattr(hdf5_process, "__file__", str(script))
        assert "crashes the HDF5 library" in refusal(read_weights, self.H5)


class TestBadWeights:
    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "found an empty file"),
            (b"\n <!DOCTYPE html><html><body>Not found</body></html>", "found a web page; the download went wrong"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 5\n",
                "found a Git LFS pointer; run `git lfs",
            ),
            (PROTOTXT, "found a text: a description?"),
            (b"PK\x03\x04........", "found a zip archive"),
            (b"\x80\x02}q\x00.", "found a Python pickle"),
            (b"\x93NUMPY\x01\x00", "found a NumPy array"),
            (tagged(1, b"name\x01"), "found no layers"),
            (b"\x08\x01\x10\x02", "found no layers"),
            (tagged(100, b"") + tagged(2, b""), "layers of two generations"),
            (tagged(100, tagged(1, b"\xff\xfe")), "a name that is not text"),
            (tagged(100, tagged(1, b"x" * 5000)), "a name of 5,000 characters"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_other_kinds_of_file(self, write, content, message):
        assert message in refusal(read_weights, write(content))

    @pytest.mark.parametrize(
        ("blob", "message"),
        [
            (
                {"data": [1, 2, 3], "shape": {"dim": [2, 2]}},
                "layer 'fc', blob 0 of shape (2, 2), 4 values, with 3 values",
            ),
            ({"data": [1], "num": 1}, "of shape (1, 0, 0, 0)"),
            ({"data": [1], "shape": {"dim": [-1]}}, "of shape (-1,)"),
            ({"data": [1], "num": -1, "channels": -1, "height": 1, "width": 1}, "of shape (-1, -1, 1, 1)"),
            ({"data": [1], "shape": {"dim": [2**40, 2**40]}}, "of shape (1099511627776, 1099511627776)"),
            ({"data": [], "shape": {"dim": [2**31 - 1] * 32}}, "with 0 values"),
            ({"data": [1], "shape": {"dim": [1] * 33}}, "with more than 32 axes"),
            ({"data": [], "shape": {"dim": [0]}}, "of shape (0,)"),
            ({}, "of shape (), 1 values, with 0 values"),
            ({"data": [1, float("nan")], "shape": {"dim": [2]}}, "NaN or infinity in layer 'fc', blob 0"),
            ({"data": [float("-inf")], "shape": {"dim": [1]}}, "NaN or infinity"),
            ({"double_data": [1e300], "shape": {"dim": [1]}}, "NaN or infinity"),
        ],
    )
    def test_impossible_arrays(self, write, blob, message):
        assert message in refusal(read_weights, write(one_layer(**blob)))

    def test_nan_far_into_a_large_blob(self, write):
        values = np.zeros(3 * 2**20 + 5, "<f4")
        values[-1] = np.nan
        blob = tagged(7, tagged(1, varint(len(values)))) + tagged(5, values.tobytes())
        path = write(tagged(100, tagged(1, b"fc") + tagged(7, b"\x08\x01") + tagged(7, blob)))
        with pytest.raises(ConversionError):
            read_weights(path)
        path = write(tagged(100, tagged(1, b"fc") + tagged(7, blob)))
        assert "NaN or infinity in layer 'fc', blob 0" in refusal(read_weights, path)

    def test_a_name_twice_with_weights(self, write):
        net = one_layer(data=[1])
        net.layer.add(name="fc")
        assert "found 'fc' with weights more than once" in refusal(read_weights, write(net))

    @pytest.mark.parametrize(
        "content",
        [
            tagged(100, b"\x0a\x80\x80\x80\x80\x08"),
            tagged(100, b"\x0a" + b"\xff" * 9 + b"\x01"),
            b"\xa2\x06\xff\xff\xff\xff\x07",
            b"\xa2\x06" + b"\x80" * 11,
            b"\xa2",
            b"\x00\x01",
            b"\xa3\x06\xa4\x06",
            b"\x0b\x0c",
            b"\x0e\x00",
            tagged(100, tagged(7, b"\x2a\xff\xff\xff\xff\x0f")),
            tagged(100, tagged(7, b"\x2a\x03abc")),
            tagged(100, tagged(7, b"\x2d\x00\x00")),
            tagged(100, tagged(7, tagged(7, b"\x0a\x02\x80"))),
        ],
        ids=repr,
    )
    def test_lengths_and_wire_types_that_cannot_be(self, write, content):
        refusal(read_weights, write(content))

    @pytest.mark.parametrize("part", [0.001, 0.1, 0.5, 0.9, 0.999999])
    @pytest.mark.parametrize("path", [SMALL, V0], ids=["current", "V0"])
    def test_truncated(self, write, path, part):
        raw = path.read_bytes()
        refusal(read_weights, write(raw[: int(part * len(raw))]))

    def test_stated_lengths_allocate_nothing(self, write):
        paths = [
            write(b"\xa2\x06" + varint(2**31 - 1) + b"\x0a\x01a", "a"),
            write(tagged(100, b"\x3a" + varint(2**31 - 1)), "b"),
            write(tagged(100, tagged(7, b"\x2a" + varint(2**31 - 4))), "c"),
            write(one_layer(data=[1], shape={"dim": [2**31 - 1]}), "d"),
            write(tagged(100, tagged(7, tagged(7, b"\x0a" + varint(2**62)))), "e"),
        ]
        tracemalloc.start()
        for path in paths:
            refusal(read_weights, path)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 2_000_000

    @pytest.mark.parametrize(
        "content",
        [
            b"\xa2\x06\x00" * 10**6,
            tagged(100, b"\x3a\x00" * 10**6),
            b"\x08\x01" * 10**6,
            tagged(100, b"\x2d1234\x08\x01" * 10**6),
        ],
        ids=["layers", "blobs", "numbers", "alternating"],
    )
    def test_millions_of_fields_are_refused(self, write, content):
        assert "more fields than a network has" in refusal(read_weights, write(content))

    def test_messages_inside_messages_cost_no_stack(self, write):
        content = b""
        for _ in range(5000):
            content = tagged(900, content)
        for layer in (tagged(100, content), tagged(2, content), tagged(2, tagged(1, content))):
            read_weights(write(layer))
        content = b""
        for _ in range(5000):
            content = tagged(7, content)
        refusal(read_weights, write(tagged(100, content)))

    @pytest.mark.parametrize("function", [read_weights, read_description, read_mean])
    def test_paths_that_are_no_files(self, function, tmp_path):
        assert "No such file" in refusal(function, tmp_path / "missing")
        assert "no regular file" in refusal(function, tmp_path)
        os.mkfifo(tmp_path / "pipe")
        assert "no regular file" in refusal(function, tmp_path / "pipe")

    def test_too_large(self, tmp_path):
        path = tmp_path / "sparse"
        with path.open("wb") as file:
            file.truncate(files.FILE_AT_MOST + 1)
        assert "at most" in refusal(read_weights, path)


class TestDescription:
    @pytest.mark.parametrize("network", ["mini_vgg", "v0_lenet", "v0_padding"])
    def test_is_what_caffe_made_of_it(self, network):
        description = read_description(GOLDENS / network / "deploy.prototxt")
        upgraded = (GOLDENS / network / "upgraded_by_caffe.prototxt").read_text()
        assert description.net == text_format.Parse(upgraded, caffe_pb2.NetParameter())

    def test_knows_its_file(self):
        path = GOLDENS / "mini_vgg" / "deploy.prototxt"
        description = read_description(path)
        assert description.path == path
        assert description.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
        assert Description.from_text(path.read_text(), "x").sha256 == description.sha256

    @pytest.mark.parametrize("path", sorted(GOLDENS.rglob("deploy.prototxt")), ids=lambda path: path.parent.name)
    def test_lines_are_where_the_blocks_start(self, path):
        written = path.read_text().splitlines()
        description = read_description(path)
        for layer in description.net.layer:
            line = description.lines[layer.name]
            block = "\n".join(written[line - 1 : line + 8])
            assert block.startswith(("layer {", "layers {", "input: "))
            assert f'"{layer.name}"' in block or layer.name == "input"

    def test_lines_survive_whatever_the_format_allows(self):
        text = (
            "# layer {\n"
            "name: 'layer { } #' input : \"x\" ; input_dim: [1,\n1, 2, 2],\n"
            "layer # {\n"
            '{ name: "a" \'b\' type: "\\"}" bottom: \'x\' }\n'
            "layer: <name:'c'\ninclude <phase:TEST>>\n"
            "layer: [ { name: 'd' },\n  { name: 'e' } ] layer { name: 'f' }"
        )
        description = Description.from_text(text)
        assert description.lines == {"input": 2, "ab": 4, "c": 6, "d": 8, "e": 9, "f": 9}
        assert description.where("c") == "<text>:6"
        assert description.where("unknown") == "<text>"
        assert description.net.layer[1].type == '"}'

    def test_the_layer_that_runs_gives_the_line_to_its_name(self):
        text = "layer { name: 'data' include { phase: TRAIN } }\nlayer { name: 'data' include { phase: TEST } }"
        description = Description.from_text(text)
        assert description.lines == {"data": 2}
        assert len(description.net.layer) == 1

    def test_numbers_and_enums_in_every_spelling(self):
        text = (
            "layer { name: 'a' convolution_param { num_output: 0x10 pad: 010 pad: 2 bias_term: 0 } "
            "relu_param { negative_slope: 1.f } pooling_param { pool: 1 } }"
        )
        layer = Description.from_text(text).net.layer[0]
        assert layer.convolution_param.num_output == 16
        assert list(layer.convolution_param.pad) == [8, 2]
        assert not layer.convolution_param.bias_term
        assert layer.relu_param.negative_slope == 1
        assert layer.pooling_param.pool == caffe_pb2.PoolingParameter.AVE

    def test_line_ends_byte_order_mark_and_foreign_comments(self, write):
        raw = b"\xef\xbb\xbf# \xb5\xe7\xd3\xb0\r\nlayer {\r\n  name: 'caf\xc3\xa9' # \xff\r\n}\r\n"
        assert read_description(write(raw)).lines == {"café": 2}

    @pytest.mark.parametrize(
        ("text", "line", "message"),
        [
            ("layer {\n kernal_size: 3\n}", 2, "expected a field of LayerParameter, found 'kernal_size'"),
            ("layer { convolution_param {\n\n kernal_size: 3 } }", 3, "(did you mean 'kernel_size'"),
            ("\nlayer { pooling_param { pool: MAXX } }", 2, "found 'MAXX' (did you mean 'MAX'"),
            (
                "layers { type: 'Convolution' }",
                1,
                "V1LayerParameter.LayerType, found 'Convolution' (did you mean 'CONVOLUTION'",
            ),
            ("layer {\n name: 'a'\n", 1, "expected a closing brace for the block that opens here"),
            ("layer {\n conv {\n }\n\nlayer { }", 1, "expected a closing brace for the block that opens here"),
            ("layer { name: 'a' }\n}", 2, "expected no closing brace, found one without a block"),
            ("layer {\n name: 'a }\n}", 2, "expected a closing quote on the same line"),
            ("layer {\n name: 3\n}", 2, "Expected string but found: '3'"),
            ("layer { convolution_param {\n num_output: -1 } }", 2, "Value out of range: -1"),
            ("layer { convolution_param {\n num_output: 'many' } }", 2, "integer"),
            ("name: 'a'\nname: 'b'", 2, "expected 'name' of NetParameter once"),
            ("name: 'a'\nlayer { name: 'x' }\nlayer { clip_param {\nmin: 1 } }", 3, "layer[1].clip_param.max"),
            ("net: 'train_val.prototxt'", 1, "expected a field of NetParameter, found 'net'"),
            (
                "layer { name: 'a' include { phase: TEST }\nexclude { phase: TRAIN } }",
                1,
                "layer 'a': expected include rules or",
            ),
            ("\nlayers { layer { name: 'a' type: 'con' } }", 2, "layer 'a': expected a V0 layer type"),
            ("layer " + "{ layer " * 60, 1, "more than 50 blocks inside blocks"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_errors_name_line_and_remedy(self, text, line, message):
        found = refusal(lambda name: Description.from_text(text, name), "net.prototxt")
        assert found.startswith(f"net.prototxt:{line}: ")
        assert message in found

    @pytest.mark.parametrize(
        ("content", "message"),
        [
            (b"", "found an empty file"),
            (b"name: 'nothing'", "expected layers, found none"),
            (b"input: 'data' layer { name: 'a' bottom: 'data' }", "expected input_dim or input_shape"),
            (b"layer { name: 'a' } layers { name: 'b' }", "expected `layer` or `layers` entries, found both"),
            (b"<html><body>404</body></html>", "found a web page"),
            (b"version https://git-lfs.github.com/spec/v1\n", "found a Git LFS pointer"),
            (SMALL.read_bytes(), "found a binary file; give the description here"),
            (b"layer {\n name: 'caf\xe9' }", ":2: expected UTF-8 outside comments"),
        ],
        ids=lambda value: value if isinstance(value, str) else "",
    )
    def test_other_files(self, write, content, message):
        assert message in refusal(read_description, write(content))

    def test_braces_inside_braces_cost_no_stack(self):
        for text in ("layer { " * 10**5, "layer { name: 'a' }" + "<" * 10**5, "[" * 10**5, "layer: " + "[" * 10**5):
            refusal(lambda name, text=text: Description.from_text(text, name), "deep")


class TestMean:
    @pytest.mark.parametrize("name", ["small_legacy", "small_shape", "small_double"])
    def test_every_form_of_binaryproto(self, name):
        expected = np.load(GOLDENS / "mean" / "small.npy").reshape(2, 4, 5)
        mean = read_mean(GOLDENS / "mean" / f"{name}.binaryproto")
        assert mean.dtype == np.float32
        assert np.array_equal(mean, expected.astype(np.float32))

    @pytest.mark.parametrize("shape", [(3, 5, 4), (1, 3, 5, 4)])
    @pytest.mark.parametrize("dtype", ["<f4", "<f8", ">f8", "u1"])
    @pytest.mark.parametrize("order", ["C", "F"])
    def test_npy(self, write, shape, dtype, order):
        values = np.asarray(np.random.default_rng(1).uniform(90, 140, shape).astype(dtype), order=order)
        np.save(buffer := io.BytesIO(), values)
        mean = read_mean(write(buffer.getvalue(), "mean.npy"))
        assert mean.dtype == np.float32
        assert np.array_equal(mean, values.reshape(3, 5, 4).astype(np.float32))

    def test_one_value_a_channel(self, write):
        np.save(buffer := io.BytesIO(), np.array([104.0, 117.0, 123.0]))
        assert read_mean(write(buffer.getvalue())).tolist() == [[[104.0]], [[117.0]], [[123.0]]]

    def test_pickles_are_refused(self, write):
        np.save(buffer := io.BytesIO(), np.array([print], object), allow_pickle=True)
        assert "object" in refusal(read_mean, write(buffer.getvalue()))

    @pytest.mark.parametrize(
        "harm", [lambda raw: raw[:-4], lambda raw: raw[:40], lambda raw: raw[:7], lambda raw: raw + b"more"]
    )
    def test_damaged_npy(self, write, harm):
        np.save(buffer := io.BytesIO(), np.ones((3, 4, 4), np.float32))
        refusal(read_mean, write(harm(buffer.getvalue())))

    @pytest.mark.parametrize("shape", ["(3, 1000000, 1000000)", "(-3, -4)", "(3, 0, 4)", "(((", "(3,) * 10**9", "f()"])
    def test_headers_are_not_believed(self, write, shape):
        header = f"{{'descr': '<f4', 'fortran_order': False, 'shape': {shape}, }}".ljust(117) + "\n"
        refusal(
            read_mean, write(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(48))
        )

    @pytest.mark.parametrize(
        "values", [np.full((3, 2, 2), np.nan), np.ones((2, 3, 4, 5)), np.ones((3, 4)), np.ones(())]
    )
    def test_other_arrays(self, write, values):
        np.save(buffer := io.BytesIO(), values)
        refusal(read_mean, write(buffer.getvalue()))
        blob = caffe_pb2.BlobProto(data=values.ravel().tolist(), shape={"dim": values.shape})
        refusal(read_mean, write(blob))

    def test_weights_are_no_mean(self):
        refusal(read_mean, SMALL)


class TestMutations:
    """Damaged files are read or refused; no other error escapes."""

    BLOB = {"data": [1, 2, 3, 4], "num": 1, "channels": 1, "height": 2, "width": 2}  # noqa: RUF012
    BINARY = [  # noqa: RUF012
        (GOLDENS / "layers" / "old_input_fields" / "weights_double.caffemodel").read_bytes(),
        caffe_pb2.NetParameter(layers=[{"name": "fc", "type": "LRN", "blobs": [BLOB, BLOB]}]).SerializeToString(),
        caffe_pb2.NetParameter(layers=[{"layer": {"name": "fc", "type": "conv", "blobs": [BLOB]}}]).SerializeToString(),
        one_layer(data=[1, 2, 3, 4, 5, 6], shape={"dim": [1, 2, 3]}).SerializeToString(),
    ]
    TEXTS = [text[: text.index(b"layers {", 900)] for text in (PROTOTXT, VGG)]  # noqa: RUF012

    @pytest.mark.parametrize("raw", BINARY, ids=["doubles", "V1", "V0", "current"])
    def test_weights(self, write, raw):
        for seed in range(200):
            path = write(mutated(raw, seed))
            # Messages without weights are not looked into, so damage there may go unnoticed.
            if survives(read_weights, path) and is_message(path):
                assert_same_as_protobuf(path)

    def test_random_bytes_behind_a_plausible_start(self, write):
        for seed in range(50):
            content = np.random.default_rng(seed).integers(0, 256, 400, np.uint8).tobytes()
            survives(read_weights, write(tagged(100, content)))
            survives(read_weights, write(tagged(2, tagged(1, content))))
            survives(read_weights, write(tagged(100, tagged(7, content))))
            survives(read_mean, write(content))

    @pytest.mark.parametrize("raw", TEXTS, ids=["V0", "V1"])
    def test_descriptions(self, write, raw):
        for seed in range(100):
            survives(read_description, write(mutated(raw, seed)))
            survives(read_description, write(mutated(raw, seed, b'[]:"# \n01.layersinput-')))

    def test_means(self, write):
        np.save(buffer := io.BytesIO(), np.ones((3, 4, 4), np.float32))
        binaryproto = (GOLDENS / "mean" / "small_legacy.binaryproto").read_bytes()
        for seed in range(150):
            survives(read_mean, write(mutated(buffer.getvalue(), seed)))
            survives(read_mean, write(mutated(binaryproto, seed)))


def survives(function, path):
    """Whether the file is read; that nothing but a refusal comes of it otherwise."""
    try:
        function(path)
    except PredictDiffError as error:
        message = str(error)
    else:
        return True
    assert "\n" not in message
    return False


def mutated(raw, seed, alphabet=bytes(range(256))):
    """One to three places replaced, inserted, removed or repeated, or the end cut off."""
    generator = np.random.default_rng(seed)
    raw = bytearray(raw)
    for _ in range(generator.integers(1, 4)):
        place = int(generator.integers(len(raw) + 1))
        some = bytes(alphabet[index] for index in generator.integers(len(alphabet), size=generator.integers(1, 4)))
        match generator.integers(9):
            case 0:
                raw[place:place] = some
            case 1:
                del raw[place : place + len(some)]
            case 2:
                raw[place:place] = raw[place : place + 40]
            case 3 if place:
                del raw[place:]
            case _:
                raw[place : place + len(some)] = some
    return bytes(raw)


def is_message(path):
    try:
        caffe_pb2.NetParameter.FromString(path.read_bytes())
    except DecodeError:
        return False
    return True


def assert_same_as_protobuf(path):
    """The layers, shapes and values that protobuf's own parser finds in a weights file."""
    net = caffe_pb2.NetParameter.FromString(path.read_bytes())
    expected = list(net.layer) or [layer.layer if layer.HasField("layer") else layer for layer in net.layers]
    layers = read_weights(path).layers
    assert list(layers) == list(dict.fromkeys(layer.name for layer in expected))
    for layer in expected:
        blobs = layers[layer.name].blobs
        assert len(blobs) == len(layer.blobs)
        for ours, theirs in zip(blobs, layer.blobs, strict=True):
            assert ours.dtype == np.float32
            shape = theirs.shape.dim if theirs.HasField("shape") else legacy_shape(theirs)
            assert ours.shape == tuple(shape)
            assert np.array_equal(ours.ravel(), np.array(theirs.double_data or theirs.data, np.float32))


def assert_same_blobs(one, other):
    assert list(one.layers) == list(other.layers)
    for name, layer in one.layers.items():
        for ours, theirs in zip(layer.blobs, other.layers[name].blobs, strict=True):
            assert np.array_equal(ours, theirs)


def legacy_shape(blob):
    names = ("num", "channels", "height", "width")
    return [getattr(blob, name) for name in names] if any(blob.HasField(name) for name in names) else []


def hdf5_file(content):
    with h5py.File(buffer := io.BytesIO(), "w") as root:
        for path, value in content.items():
            group, _, name = path.rpartition("/")
            (root.require_group(group) if group else root)[name] = value
    return buffer.getvalue()
