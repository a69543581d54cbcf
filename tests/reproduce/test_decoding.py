"""Every kind of picture file becomes RGB in [0, 1]; expected values are written out here, not read back."""

import contextlib
import io
import struct
import warnings
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps
from skimage import img_as_float

from predict_diff.errors import ImageError
from reproduce import decoding
from reproduce.decoding import decode

JPEG_TOLERANCE = 0.03
GREY_NOTE = "greyscale: repeated over three channels"
WHITE_NOTE = "transparency laid over white"


def encoded(image, kind="PNG", **options):
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def decoded(content):
    return decode(io.BytesIO(content), "photo")


def png(width, height, depth, colour, samples, chunks=()):
    """A PNG written by hand, of kinds that Pillow cannot write."""

    def chunk(kind, body):
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in samples)
    parts = [chunk(b"IHDR", header), *(chunk(*each) for each in chunks), chunk(b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join([*parts, chunk(b"IEND", b"")])


@pytest.fixture
def rgb():
    return np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)


def test_rgb_is_divided_by_255_as_scikit_image_does():
    every_byte = np.arange(256, dtype=np.uint8).reshape(16, 16)
    pixels, notes = decoded(encoded(Image.fromarray(np.stack([every_byte, every_byte.T, every_byte[::-1]], axis=-1))))
    assert pixels.dtype == np.float32
    assert pixels.flags.c_contiguous
    np.testing.assert_array_equal(pixels[..., 0], img_as_float(every_byte).astype(np.float32))
    np.testing.assert_array_equal(pixels[..., 1], img_as_float(every_byte.T).astype(np.float32))
    np.testing.assert_array_equal(pixels[..., 2], img_as_float(every_byte[::-1]).astype(np.float32))
    assert notes == ()


@pytest.mark.parametrize("kind", ["PNG", "BMP", "PPM", "TIFF"])
def test_lossless_formats_agree(rgb, kind):
    pixels, notes = decoded(encoded(Image.fromarray(rgb), kind))
    np.testing.assert_array_equal(pixels, rgb / np.float32(255))
    assert notes == ()


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "JPEG2000", "AVIF"])
def test_lossy_formats_come_close(kind):
    plain = np.broadcast_to(np.uint8([200, 100, 40]), (32, 32, 3))
    pixels, _ = decoded(encoded(Image.fromarray(plain), kind, quality=95))
    np.testing.assert_allclose(pixels, plain / 255, atol=JPEG_TOLERANCE)


def test_greyscale_is_repeated():
    grey = np.uint8([[0, 51], [102, 255]])
    pixels, notes = decoded(encoded(Image.fromarray(grey)))
    np.testing.assert_allclose(pixels, np.repeat([[[0.0], [0.2]], [[0.4], [1.0]]], 3, axis=2), rtol=1e-6)
    assert notes == (GREY_NOTE,)


def test_one_bit_is_black_and_white():
    pixels, notes = decoded(encoded(Image.fromarray(np.array([[True, False, True]]))))
    np.testing.assert_array_equal(pixels[0], [[1, 1, 1], [0, 0, 0], [1, 1, 1]])
    assert notes == (GREY_NOTE,)


def test_transparent_colour_is_laid_over_white():
    rgba = np.uint8([[[255, 0, 0, 255], [255, 0, 0, 0], [0, 51, 255, 51]]])
    pixels, notes = decoded(encoded(Image.fromarray(rgba)))
    np.testing.assert_allclose(pixels[0], [[1, 0, 0], [1, 1, 1], [0.8, 0.84, 1]], atol=1e-6)
    assert notes == (WHITE_NOTE,)


def test_an_opaque_alpha_channel_changes_nothing(rgb):
    opaque = np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    pixels, notes = decoded(encoded(Image.fromarray(opaque)))
    np.testing.assert_array_equal(pixels, rgb / np.float32(255))
    assert notes == ()


def test_transparent_greyscale_is_laid_over_white():
    pixels, notes = decoded(encoded(Image.fromarray(np.uint8([[[0, 51], [102, 255]]]), "LA")))
    np.testing.assert_allclose(pixels[0, :, 0], [0.8, 0.4], atol=1e-6)
    assert notes == (GREY_NOTE, WHITE_NOTE)


def with_tag(content, tag, before, after):
    """The same little-endian TIFF with another value of a tag."""
    entry = struct.pack("<HHI", tag, 3, 1)
    assert content.count(entry + struct.pack("<I", before)) == 1
    return content.replace(entry + struct.pack("<I", before), entry + struct.pack("<I", after))


def test_a_grey_tiff_may_be_multiplied_by_its_alpha():
    content = encoded(Image.fromarray(np.uint8([[[40, 102]]]), "LA"), "TIFF")
    pixels, notes = decoded(with_tag(content, 338, 2, 1))
    np.testing.assert_allclose(pixels[0, 0], 40 / 255 + 0.6, atol=1e-6)
    assert notes == (GREY_NOTE, WHITE_NOTE)


def palette_image(indices, colours):
    image = Image.fromarray(np.uint8(indices), "P")
    image.putpalette(colours)
    return image


def test_palette_is_looked_up():
    image = palette_image([[0, 1, 1]], [255, 0, 0, 0, 0, 255])
    pixels, notes = decoded(encoded(image))
    np.testing.assert_array_equal(pixels[0], [[1, 0, 0], [0, 0, 1], [0, 0, 1]])
    assert notes == ()


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_transparent_palette_colour_is_laid_over_white(kind):
    image = palette_image([[0, 1, 1]], [255, 0, 0, 0, 0, 255])
    pixels, notes = decoded(encoded(image, kind, transparency=1))
    np.testing.assert_array_equal(pixels[0], [[1, 0, 0], [1, 1, 1], [1, 1, 1]])
    assert notes == (WHITE_NOTE,)


def test_palette_with_partial_transparency_is_blended():
    image = palette_image([[0, 1]], [255, 0, 0, 0, 0, 255])
    pixels, _ = decoded(encoded(image, "PNG", transparency=bytes([51, 255])))
    np.testing.assert_allclose(pixels[0], [[1, 0.8, 0.8], [0, 0, 1]], atol=1e-6)


def test_sixteen_bit_grey_is_scaled_not_clipped():
    grey = np.uint16([[0, 256, 13107], [32768, 65534, 65535]])
    for content in (encoded(Image.fromarray(grey)), encoded(Image.fromarray(grey), "TIFF")):
        pixels, notes = decoded(content)
        np.testing.assert_allclose(pixels, np.repeat(grey[..., None] / 65535, 3, axis=2), rtol=1e-6)
        assert notes == (GREY_NOTE, "16 bits: scaled by 65535")


def test_sixteen_bits_in_wider_integers_are_scaled_the_same():
    pixels, notes = decoded(b"P5 2 1 65535\n" + np.array([13107, 65535], ">u2").tobytes())
    np.testing.assert_allclose(pixels[0, :, 0], [0.2, 1])
    assert notes == (GREY_NOTE, "16 bits: scaled by 65535")


def test_wider_integers_are_refused():
    with pytest.raises(ImageError, match="expected values of 16 bits, from 0 to 65535, found 5 to 70000"):
        decoded(encoded(Image.fromarray(np.int32([[5, 70000]])), "TIFF"))


def test_sixteen_bit_grey_with_a_transparent_value():
    content = png(3, 1, 16, 0, np.array([[0, 13107, 65535]], ">u2"), [(b"tRNS", struct.pack(">H", 0))])
    pixels, notes = decoded(content)
    np.testing.assert_allclose(pixels[0, :, 0], [1, 0.2, 1], rtol=1e-6)
    assert notes == (GREY_NOTE, "16 bits: scaled by 65535", WHITE_NOTE)


def test_sixteen_bit_colour_keeps_the_upper_eight_bits_and_says_so():
    rgb = np.array([[[0xFFFF, 0x8000, 0x0001], [0x3333, 0xABCD, 0x0100]]], ">u2")
    pixels, notes = decoded(png(2, 1, 16, 2, rgb))
    np.testing.assert_allclose(pixels, rgb / 65535, atol=1 / 255)
    assert notes == ("16 bits a channel: the upper 8 used, which is what Pillow reads",)


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_tiff_may_store_white_as_zero(dtype):
    white = np.iinfo(dtype).max
    content = encoded(Image.fromarray(np.array([[0, white // 5, white]], dtype)), "TIFF")
    pixels, _ = decoded(with_tag(content, 262, 1, 0))
    np.testing.assert_allclose(pixels[0, :, 0], [1, 0.8, 0], atol=1e-6)


def test_twelve_bit_tiff_is_scaled_by_its_own_white():
    content = encoded(Image.fromarray(np.array([[0, 819], [1638, 4095]], np.uint16)), "TIFF")
    packed = bytes([0x00, 0x03, 0x33, 0x66, 0x6F, 0xFF])  # two samples in three bytes, each row on its own
    content = content.replace(np.array([0, 819, 1638, 4095], "<u2").tobytes(), packed + b"\0\0")
    pixels, notes = decoded(with_tag(content, 258, 16, 12))
    np.testing.assert_allclose(pixels[..., 0], [[0, 0.2], [0.4, 1]], rtol=1e-6)
    assert "12 bits: scaled by 4095" in notes


def test_floating_point_between_0_and_1_is_taken_as_it_is():
    grey = np.float32([[0, 0.25], [0.5, 1]])
    pixels, notes = decoded(encoded(Image.fromarray(grey), "TIFF"))
    np.testing.assert_array_equal(pixels, np.repeat(grey[..., None], 3, axis=2))
    assert notes == (GREY_NOTE, "floating point: taken as it is")


@pytest.mark.parametrize("value", [-0.1, 1.5, 255, np.nan, np.inf])
def test_other_floating_point_is_refused(value):
    with pytest.raises(ImageError, match="expected floating-point values from 0 to 1, found"):
        decoded(encoded(Image.fromarray(np.float32([[0, value]])), "TIFF"))


CMYK = np.uint8([[[0, 0, 0, 0]], [[255, 0, 0, 0]], [[51, 102, 0, 51]]])
CMYK_AS_RGB = [[1, 1, 1], [0, 1, 1], [0.8 * 0.8, 0.6 * 0.8, 0.8]]


def cmyk_jpeg():
    plain = np.repeat(np.repeat(CMYK, 16, axis=0), 16, axis=1)
    return encoded(Image.fromarray(plain, "CMYK"), "JPEG", quality=100)


def without_adobe_marker(content):
    start = content.index(b"\xff\xee")
    (length,) = struct.unpack(">H", content[start + 2 : start + 4])
    return content[:start] + content[start + 2 + length :]


def test_cmyk_jpeg_of_adobe_is_stored_inverted():
    content = cmyk_jpeg()
    assert b"Adobe" in content
    pixels, notes = decoded(content)
    np.testing.assert_allclose(pixels[8::16, 8], CMYK_AS_RGB, atol=JPEG_TOLERANCE)
    assert notes == ("CMYK converted",)


def test_cmyk_jpeg_of_others_is_not():
    inverted = Image.open(io.BytesIO(cmyk_jpeg()))
    other = encoded(Image.fromarray(255 - np.asarray(inverted), "CMYK"), "JPEG", quality=100)
    pixels, notes = decoded(without_adobe_marker(other))
    np.testing.assert_allclose(pixels[8::16, 8], CMYK_AS_RGB, atol=JPEG_TOLERANCE)
    assert notes == ("CMYK converted",)


def test_cmyk_tiff():
    pixels, notes = decoded(encoded(Image.fromarray(CMYK, "CMYK"), "TIFF"))
    np.testing.assert_allclose(pixels[:, 0], CMYK_AS_RGB, atol=1 / 255)
    assert notes == ("CMYK converted",)


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_held_sideways_is_turned(rgb, orientation, kind):
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = Image.fromarray(rgb)
    content = encoded(image, kind, exif=exif, **({"lossless": True} if kind == "WEBP" else {}))
    pixels, notes = decoded(content)
    image.getexif()[0x0112] = orientation
    upright = np.asarray(ImageOps.exif_transpose(image))
    np.testing.assert_array_equal(pixels, upright / np.float32(255))
    assert notes == (() if orientation == 1 else ("turned as its EXIF says",))


def test_a_jpeg_of_a_camera_held_sideways_is_turned():
    left_white = np.zeros((16, 32, 3), np.uint8)
    left_white[:, :16] = 255
    exif = Image.Exif()
    exif[0x0112] = 6  # row 0 is the right-hand side
    pixels, _ = decoded(encoded(Image.fromarray(left_white), "JPEG", exif=exif))
    assert pixels.shape == (32, 16, 3)
    assert pixels[:8].min() > 0.9  # what was left is above
    assert pixels[-8:].max() < 0.1


@pytest.mark.parametrize("exif", [b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0nonsense", b"Exif\0\0"])
def test_senseless_exif_is_ignored(rgb, exif):
    content = encoded(Image.fromarray(rgb), "JPEG", exif=exif, quality=100, subsampling=0)
    pixels, notes = decoded(content)
    assert pixels.shape == rgb.shape
    assert notes == ()


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF", "AVIF"])
def test_only_the_first_of_several_frames_is_read(kind):
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    options = {"lossless": True} if kind == "WEBP" else {}
    pixels, notes = decoded(encoded(frames[0], kind, save_all=True, append_images=frames[1:], **options))
    np.testing.assert_allclose(pixels, np.broadcast_to([1, 0, 0], (8, 8, 3)), atol=JPEG_TOLERANCE)
    assert notes == (("several pictures in the file: the first",) if kind == "TIFF" else ("animation: first frame",))


def test_a_later_frame_may_be_damaged():
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "lime", "blue")]
    content = encoded(frames[0], "GIF", save_all=True, append_images=frames[1:])
    whole_first = content.index(b"\x2c", content.index(b"\x2c") + 1) + 4
    pixels, _ = decoded(content[:whole_first])
    np.testing.assert_array_equal(pixels, np.broadcast_to([1, 0, 0], (8, 8, 3)))


def test_a_phone_s_photo_with_a_second_picture_in_it():
    pictures = [Image.new("RGB", (16, 16), colour) for colour in ("white", "black")]
    pixels, notes = decoded(encoded(pictures[0], "MPO", save_all=True, append_images=pictures[1:]))
    assert pixels.min() > 0.95
    assert notes == ("several pictures in the file: the first",)


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "JPEG", "WEBP", "TIFF"])
def test_one_pixel_is_enough(kind):
    pixels, _ = decoded(encoded(Image.new("RGB", (1, 1), (255, 255, 255)), kind))
    np.testing.assert_allclose(pixels, np.ones((1, 1, 3)), atol=JPEG_TOLERANCE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated_files_are_refused_in_one_line(kind, share):
    noise = np.random.default_rng(1).integers(0, 256, (64, 64, 3), np.uint8)
    image = Image.fromarray(noise).quantize() if kind == "GIF" else Image.fromarray(noise)
    content = encoded(image, kind)
    with pytest.raises(ImageError, match=r"^photo: expected a (whole )?picture") as caught:
        decoded(content[: int(len(content) * share)])
    assert "\n" not in str(caught.value)


def test_a_flipped_bit_in_a_png_is_noticed(rgb):
    content = bytearray(encoded(Image.fromarray(rgb)))
    content[content.index(b"IDAT") + 10] ^= 0x10
    with pytest.raises(ImageError, match="expected a whole picture"):
        decoded(bytes(content))


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "TIFF", "BMP", "PPM", "JPEG2000", "AVIF"])
def test_no_damage_escapes_as_another_error(kind):
    noise = np.random.default_rng(2).integers(0, 256, (24, 24, 3), np.uint8)
    content = encoded(Image.fromarray(noise), kind)
    generator = np.random.default_rng(3)
    for _ in range(60):
        damaged = bytearray(content)
        # Half of the damage goes where headers are.
        places = generator.integers(0, len(content) if generator.random() < 0.5 else min(80, len(content)), 3)
        for place in places:
            damaged[place] = generator.integers(0, 256)
        with contextlib.suppress(ImageError):
            pixels, _ = decoded(bytes(damaged))
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
            assert pixels.min() >= 0
            assert pixels.max() <= 1


@pytest.mark.parametrize(
    "content", [b"", b"\0", b"just text, no picture", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_what_is_no_picture_is_refused(content):
    with pytest.raises(ImageError, match=r"expected a picture \(PNG, JPEG, .* save it as PNG"):
        decoded(content)


@pytest.mark.parametrize(("width", "height"), [(50_000, 50_000), (10_001, 10_000), (2**31 - 1, 1)])
def test_decompression_bombs_are_refused_by_their_header(monkeypatch, width, height):
    def decode_nothing(self):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", decode_nothing)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="expected at most 100 megapixels, found"):
            decoded(png(width, height, 8, 2, []))


def test_the_limit_is_a_hundred_megapixels():
    assert decoding.MAX_PIXELS == 100_000_000


def test_pillow_s_own_limit_is_left_alone(rgb):
    before = Image.MAX_IMAGE_PIXELS
    decoded(encoded(Image.fromarray(rgb)))
    assert before == Image.MAX_IMAGE_PIXELS
