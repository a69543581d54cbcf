"""Photos become what caffe.io makes of them, within 1e-4 of 255 grey levels."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
from skimage.color import rgb2gray
from skimage.io import imread

from predict_diff.caffe.preprocess import Preprocessing, centre_crop, oversample, resize_image, transform
from predict_diff.errors import ConfigurationError, ImageError

GOLDENS = Path(__file__).parents[2] / "goldens" / "transformer"
GREY_LEVELS = 1e-4
GOOGLENET_MEAN = np.array([104.0, 117.0, 123.0])


@pytest.fixture(scope="module")
def golden():
    return dict(np.load(GOLDENS / "transformer.npz"))


@pytest.fixture(scope="module")
def chelsea():
    """What caffe.io.load_image gives: (300, 451, 3) float32, RGB, 0-1."""
    return (imread(GOLDENS / "chelsea.png") / 255.0).astype(np.float32)


def assert_close(actual, expected, unit=255.0):
    """`unit`: how much a change of the photo from black to white makes."""
    assert actual.dtype == np.float32
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= GREY_LEVELS * unit / 255


@pytest.fixture(params=["aa", "noaa"])
def smoothing(request):
    return request.param


class TestResizeImage:
    def test_shrinks_as_caffe_does_with_and_without_antialiasing(self, golden, chelsea, smoothing):
        small = resize_image(chelsea, (256, 256), antialias=smoothing == "aa")
        assert_close(small[::8, ::8], golden[f"{smoothing}/resize_256@8"], unit=1)
        smaller = resize_image(chelsea, (80, 96), antialias=smoothing == "aa")
        assert_close(smaller[::2, ::2], golden[f"{smoothing}/resize_80x96@2"], unit=1)

    def test_enlarges_as_caffe_does_up_to_the_border(self, golden):
        assert_close(resize_image(golden["noaa/resize_up_in"], (50, 70)), golden["noaa/resize_up_50x70"], unit=1)

    def test_antialiasing_changes_nothing_when_enlarging(self, golden):
        image = golden["noaa/resize_up_in"]
        assert_close(resize_image(image, (50, 70), antialias=True), golden["noaa/resize_up_50x70"], unit=1)

    def test_enlarges_one_axis_while_shrinking_the_other(self, golden):
        expected = golden["noaa/resize_one_axis_down_40x25"]
        assert_close(resize_image(golden["noaa/resize_up_in"], (40, 25)), expected, unit=1)

    def test_one_channel(self, golden, chelsea):
        grey = rgb2gray(chelsea)[..., None].astype(np.float32)
        assert_close(resize_image(grey, (80, 96))[::2, ::2], golden["noaa/resize_gray_80x96@2"], unit=1)

    def test_other_channel_counts_go_through_zoom(self, golden):
        assert_close(resize_image(golden["zoom_in"], (13, 17)), golden["zoom_13x17"], unit=1)
        assert_close(resize_image(golden["zoom_in"], (33, 41)), golden["zoom_33x41"], unit=1)

    def test_constant_image_stays_constant(self, golden):
        assert_close(resize_image(golden["const_in"], (12, 10)), golden["const_12x10"], unit=1)

    def test_leaves_its_input_alone(self, golden):
        image = golden["noaa/resize_up_in"].copy()
        resize_image(image, (20, 20))
        assert np.array_equal(image, golden["noaa/resize_up_in"])


class TestTransform:
    def test_resizes_by_itself(self, golden, chelsea):
        mean = GOOGLENET_MEAN[:, None, None]
        x = transform(chelsea, (224, 224), channel_swap=(2, 1, 0), raw_scale=255, mean=mean)
        assert_close(x[:, ::8, ::8], golden["noaa/googlenet_direct@8"])

    def test_input_scale_comes_last(self, golden, chelsea):
        crop = resize_image(chelsea, (80, 96))[6:73, 14:81]
        mean = GOOGLENET_MEAN[:, None, None]
        x = transform(crop, channel_swap=(2, 1, 0), raw_scale=255, mean=mean, input_scale=0.017)
        assert_close(x[:, ::4, ::4], golden["noaa/inputscale_67@4"], unit=255 * 0.017)

    def test_does_nothing_but_transpose_unless_told_to(self):
        image = np.random.default_rng(0).random((3, 4, 2), np.float32)
        assert np.array_equal(transform(image), image.transpose(2, 0, 1))

    def test_leaves_its_input_alone(self, chelsea):
        before = chelsea.copy()
        transform(chelsea, raw_scale=255, mean=GOOGLENET_MEAN[:, None, None])
        assert np.array_equal(chelsea, before)


class TestOversample:
    def test_ten_crops_in_caffes_order(self, golden, chelsea):
        crops = oversample(resize_image(chelsea, (80, 96)), (67, 67))
        assert_close(crops[:, ::8, ::8], golden["noaa/oversample_67@8"], unit=1)

    def test_centre_of_odd_differences_is_rounded_down(self, golden):
        assert np.array_equal(oversample(golden["oversample_odd_in"], (6, 7)), golden["oversample_odd_6x7"])

    def test_crop_larger_than_the_photo_is_refused(self):
        with pytest.raises(ImageError, match=r"expected at least 5 x 7"):
            oversample(np.zeros((4, 9, 3), np.float32), (5, 7))

    def test_classifiers_inputs(self, golden, chelsea):
        crops = oversample(resize_image(chelsea, (80, 80)), (67, 67))
        mean = GOOGLENET_MEAN[:, None, None]
        x = np.stack([transform(crop, channel_swap=(2, 1, 0), raw_scale=255, mean=mean) for crop in crops])
        assert_close(x[:, :, ::8, ::8], golden["noaa/classifier_in_oversample@8"])


class TestWarp:
    """Caffe's own way: the whole photo to a square, then its centre."""

    def test_googlenet(self, golden, chelsea, smoothing):
        preprocess = Preprocessing(224, resize_to=256, antialias=smoothing == "aa", mean=GOOGLENET_MEAN)
        assert_close(preprocess(chelsea)[:, ::8, ::8], golden[f"{smoothing}/googlenet_center@8"])

    def test_vgg(self, golden, chelsea):
        preprocess = Preprocessing(224, resize_to=256, mean=np.array([103.939, 116.779, 123.68]))
        assert_close(preprocess(chelsea)[:, ::8, ::8], golden["noaa/vgg_center@8"])

    def test_alexnet_with_the_mean_of_each_channel(self, golden, chelsea):
        mean = np.array([104.00698793, 116.66876762, 122.67891434])
        preprocess = Preprocessing(227, resize_to=256, mean=mean)
        assert_close(preprocess(chelsea)[:, ::8, ::8], golden["noaa/alexnet_channelmean@8"])

    def test_classifier(self, golden, chelsea):
        x = Preprocessing(67, resize_to=80, mean=GOOGLENET_MEAN)(chelsea)
        assert_close(x[None, :, ::4, ::4], golden["noaa/classifier_in_center@4"])


class TestOtherWays:
    def test_none_cuts_the_centre_of_the_photo_as_the_authors_did(self, chelsea):
        rows, columns = int(0.5 * (300 - 227)), int(0.5 * (451 - 227))
        crop = chelsea[rows : rows + 227, columns : columns + 227]
        expected = 255 * crop.transpose(2, 0, 1)[::-1]
        assert_close(Preprocessing(227, resize="none")(chelsea), expected)

    def test_none_refuses_a_photo_smaller_than_the_input(self):
        photo = np.zeros((300, 226, 3), np.float32)
        with pytest.raises(ImageError, match=r"expected at least 227 x 227 pixels.*found 300 x 226"):
            Preprocessing(227, resize="none")(photo)

    def test_square_resizes_the_centre_square(self, chelsea):
        expected = resize_image(chelsea[:, 75:375], (224, 224), antialias=True)
        assert np.array_equal(Preprocessing(224, resize="square", antialias=True).view(chelsea), expected)

    def test_rgb_networks_with_an_input_scale(self, chelsea):
        """EfficientNet-Lite: (pixel - 127) / 128."""
        preprocess = Preprocessing(100, resize="none", channel_order="RGB", mean=np.full(3, 127.0), input_scale=1 / 128)
        expected = (255 * chelsea[100:200, 175:275].transpose(2, 0, 1) - 127) / 128
        assert_close(preprocess(chelsea), expected, unit=255 / 128)

    def test_view_is_what_the_network_sees(self, chelsea, smoothing):
        """Undoing scale, mean and channel order of the input gives the view."""
        preprocess = Preprocessing(224, resize_to=256, antialias=smoothing == "aa", mean=GOOGLENET_MEAN)
        view = preprocess.view(chelsea)
        undone = (preprocess(chelsea) + GOOGLENET_MEAN[:, None, None])[::-1].transpose(1, 2, 0) / 255
        assert np.abs(view - undone).max() < 1e-6
        assert view.min() >= 0
        assert view.max() <= 1

    def test_centre_crop_is_the_whole_where_nothing_is_left_over(self, chelsea):
        assert np.array_equal(centre_crop(chelsea[:300, :300], 300), chelsea[:300, :300])


class TestMeanImages:
    @pytest.fixture
    def mean(self):
        return np.random.default_rng(7).uniform(90, 140, (3, 256, 256))

    @pytest.fixture
    def photo(self):
        return np.random.default_rng(8).random((256, 256, 3), np.float32)

    def test_crop_takes_the_same_pixels_from_mean_and_photo(self, mean, photo):
        """Caffe's data layers subtract pixel by pixel before cutting."""
        whole = 255 * photo.transpose(2, 0, 1)[::-1] - mean
        x = Preprocessing(227, resize_to=256, mean=mean, mean_fit="crop")(photo)
        assert_close(x, whole[:, 14:241, 14:241])

    def test_resize_is_what_set_mean_does(self, mean):
        """Literally: to 0-1, resized, and back."""
        low, high = mean.min(), mean.max()
        normal = ((mean - low) / (high - low)).transpose(1, 2, 0)
        expected = resize_image(normal, (227, 227)).transpose(2, 0, 1) * (high - low) + low
        assert_close(Preprocessing(227, resize_to=256, mean=mean, mean_fit="resize").fitted_mean, expected)

    def test_bottom_right_is_what_the_authors_did(self, mean, chelsea):
        excess = 256 - 227
        expected = mean[:, excess : excess + 227, excess : excess + 227]
        preprocess = Preprocessing(227, resize="none", mean=mean, mean_fit="crop_bottom_right")
        assert_close(preprocess.fitted_mean, expected)
        assert_close(preprocess(chelsea), 255 * chelsea[36:263, 112:339].transpose(2, 0, 1)[::-1] - expected)

    @pytest.mark.parametrize("fit", ["crop", "resize", "crop_bottom_right"])
    def test_a_mean_of_the_inputs_size_is_subtracted_as_it_is(self, mean, fit):
        own = mean[:, :227, :227]
        assert_close(Preprocessing(227, resize_to=256, mean=own, mean_fit=fit).fitted_mean, own)

    def test_one_value_a_channel_may_have_three_axes(self):
        flat, deep = (Preprocessing(4, resize="none", mean=GOOGLENET_MEAN.reshape(shape)) for shape in (3, (3, 1, 1)))
        assert np.array_equal(flat.fitted_mean, deep.fitted_mean)
        assert flat.describe() == deep.describe()

    @pytest.mark.parametrize(
        "shape", [(2,), (3, 5), (1, 256, 256), (3, 250, 250), (3, 300, 300), (3, 0, 0), (256, 256, 3)]
    )
    def test_a_mean_that_does_not_fit_is_refused_at_once(self, shape):
        with pytest.raises(ConfigurationError, match=r"^mean: expected"):
            Preprocessing(227, resize_to=256, mean=np.ones(shape))

    def test_a_mean_with_nan_is_refused(self):
        with pytest.raises(ConfigurationError, match="NaN"):
            Preprocessing(227, resize_to=256, mean=np.array([1, 2, np.nan]))


class TestDescribe:
    def test_is_json_and_tells_mean_images_by_digest(self):
        mean = np.ones((3, 8, 8), np.float32)
        description = Preprocessing(8, resize_to=8, mean=mean).describe()
        assert json.loads(json.dumps(description)) == description
        assert description["mean"] == {"shape": [3, 8, 8], "sha256": hashlib.sha256(mean.tobytes()).hexdigest()}

    @pytest.mark.parametrize(
        "change",
        [
            {"input_size": 20},
            {"resize": "none", "resize_to": None},
            {"resize_to": 31},
            {"antialias": True},
            {"mean": np.ones(3)},
            {"mean_fit": "resize"},
            {"raw_scale": 1.0},
            {"input_scale": 2.0},
            {"channel_order": "RGB"},
        ],
        ids=lambda change: next(iter(change)),
    )
    def test_changes_with_every_setting(self, change):
        settings = {"input_size": 21, "resize_to": 30}
        assert Preprocessing(**settings).describe() != Preprocessing(**settings | change).describe()


class TestBadInput:
    @pytest.mark.parametrize(
        ("settings", "message"),
        [
            ({"input_size": 0, "resize": "none"}, "input_size: expected at least 1 pixel, found 0"),
            ({"input_size": 8}, "resize_to: expected at least input_size = 8 with resize: warp, found None"),
            ({"input_size": 8, "resize_to": 7}, "resize_to: expected at least input_size = 8"),
            ({"input_size": 8, "resize": "square", "resize_to": 9}, "resize_to: expected no value with resize: square"),
            ({"input_size": 8, "resize": "stretch"}, "resize: expected one of warp, square, none, found stretch"),
            ({"input_size": 8, "resize": "none", "channel_order": "GBR"}, "channel_order: expected one of BGR, RGB"),
            ({"input_size": 8, "resize": "none", "mean_fit": "zoom"}, "mean_fit: expected one of crop, resize"),
            ({"input_size": 8, "resize": "none", "raw_scale": 0.0}, "raw_scale: expected a finite number other than 0"),
            ({"input_size": 8, "resize": "none", "input_scale": float("nan")}, "input_scale: expected a finite"),
        ],
    )
    def test_impossible_settings(self, settings, message):
        with pytest.raises(ConfigurationError) as error:
            Preprocessing(**settings)
        assert str(error.value).startswith(message)

    @pytest.mark.parametrize(
        "photo",
        [
            np.zeros((9, 9), np.float32),
            np.zeros((9, 9, 4), np.float32),
            np.zeros((9, 9, 3), np.uint8),
            np.zeros((0, 9, 3), np.float32),
            np.full((9, 9, 3), 255, np.float32),
            np.full((9, 9, 3), np.nan, np.float32),
            np.full((9, 9, 3), -1, np.float32),
        ],
        ids=["grey", "rgba", "integers", "empty", "0-255", "nan", "negative"],
    )
    @pytest.mark.parametrize("resize", ["warp", "square", "none"])
    def test_other_arrays_than_photos(self, photo, resize):
        preprocess = Preprocessing(8, resize=resize, resize_to=8 if resize == "warp" else None)
        with pytest.raises(ImageError, match=r"^photo: expected"):
            preprocess(photo)

    @pytest.mark.parametrize("shape", [(1, 1), (1, 500), (500, 1), (3, 7)])
    @pytest.mark.parametrize("resize", ["warp", "square"])
    def test_tiny_photos_are_enlarged(self, shape, resize):
        photo = np.random.default_rng(3).random((*shape, 3), np.float32)
        preprocess = Preprocessing(16, resize=resize, resize_to=20 if resize == "warp" else None)
        x = preprocess(photo)
        assert x.shape == (3, 16, 16)
        assert np.isfinite(x).all()


@pytest.mark.parametrize(
    "preprocessing",
    [
        Preprocessing(24, resize="square"),
        Preprocessing(24, resize="none", channel_order="RGB", raw_scale=1.0, mean=np.array([0.4, 0.5, 0.6])),
        Preprocessing(24, resize_to=30, mean=np.random.default_rng(0).uniform(0, 255, (3, 30, 30)), input_scale=0.017),
    ],
    ids=["no mean", "RGB, unscaled", "mean image"],
)
def test_deprocess_gives_back_the_photo_that_the_network_saw(preprocessing):
    photos = np.random.default_rng(4).random((2, 40, 50, 3), np.float32)
    inputs = np.stack([preprocessing(photo) for photo in photos])
    expected = np.stack([preprocessing.view(photo) for photo in photos])
    np.testing.assert_allclose(preprocessing.deprocess(inputs), expected, atol=1e-6)
    np.testing.assert_allclose(preprocessing.deprocess(inputs[0]), expected[0], atol=1e-6)


def test_deprocess_of_one_pixel_by_hand():
    preprocessing = Preprocessing(1, resize="none", mean=np.array([10.0, 20.0, 30.0]), input_scale=0.5)
    blue, green, red = 41.0, 15.5, -15.0  # half of what is above the mean: 92, 51 and 0 of 255
    pixel = np.array([blue, green, red])[:, None, None]
    np.testing.assert_allclose(preprocessing.deprocess(pixel), [[[0, 0.2, 92 / 255]]], atol=1e-7)
