"""Resize and crop: sizes of the protocols, and points, depth and intrinsics that move along."""

from __future__ import annotations

import re

import numpy as np
import pytest
import torch
from PIL import Image

from fgq_bench.cards import ProtocolEntry
from fgq_bench.errors import BadData
from fgq_bench.loaders.images import Warp, area_size, fit, margins, over_white


def entry(resize: str, width: int, height: int | None = None) -> ProtocolEntry:
    values = {"frames": "all", "resize": resize, "width": width, "height": height}
    return ProtocolEntry.model_validate(values)


AREA = ProtocolEntry.model_validate({"frames": "all", "resize": "area", "pixels": 255_000})  # π³'s demo


def marked(width: int, height: int, x: int, y: int) -> Image.Image:
    """A black picture with a white square of 20 pixels about (x, y)."""
    array = np.zeros((height, width, 3), np.uint8)
    array[y - 10 : y + 10, x - 10 : x + 10] = 255
    return Image.fromarray(array)


@pytest.mark.parametrize(
    ("stored", "resize", "width", "height", "aspect", "expected"),
    [
        ((640, 480), "crop", 518, None, None, (518, 392)),  # stretched by 0.9 %
        ((640, 480), "cover", 518, 392, None, (518, 392)),  # QuantVGGT's point maps: 522 x 392, cut
        ((480, 640), "cover", 518, 392, None, (518, 392)),
        ((320, 240), "cover", 518, 392, None, (518, 392)),
        ((384, 256), "cover", 518, 392, 16 / 9, (518, 392)),
        ((640, 480), "crop", 512, None, None, (504, 378)),  # FGQ's pose protocol: 512 x 378, down to 504
        ((1066, 1896), "crop", 518, None, None, (518, 518)),
        ((1066, 1896), "crop", 512, None, None, (504, 504)),
        ((1896, 1066), "pad", 518, None, None, (518, 518)),
        ((640, 480), "squash", 518, None, None, (518, 518)),
        ((640, 480), "squash", 518, 392, None, (518, 392)),
        ((384, 256), "crop", 512, None, 16 / 9, (504, 294)),  # RealEstate10K frames that were squashed on disk
        ((640, 480), "keep", 518, None, None, (518, 392)),
        ((640, 480), "keep", 512, None, None, (504, 378)),  # 512 x 378 first, then down to 504
        ((1066, 1896), "keep", 518, None, None, (518, 924)),  # VGGT would crop
    ],
)
def test_sizes(
    stored: tuple[int, int],
    resize: str,
    width: int,
    height: int | None,
    aspect: float | None,
    expected: tuple[int, int],
) -> None:
    pixels, warp = fit(Image.new("RGB", stored), entry(resize, width, height), aspect)
    assert pixels.shape == (3, expected[1], expected[0])
    assert (warp.width, warp.height) == expected


@pytest.mark.parametrize("resize", ["crop", "pad", "squash", "keep"])
@pytest.mark.parametrize("width", [512, 518])
@pytest.mark.parametrize("stored", [(640, 480), (480, 640)])
def test_a_mark_is_where_the_warp_says(resize: str, width: int, stored: tuple[int, int]) -> None:
    x, y = stored[0] // 2 + 60, stored[1] // 2 - 40
    pixels, warp = fit(marked(*stored, x, y), entry(resize, width))
    grey = pixels.mean(0)
    if resize == "pad":
        grey = torch.where(_inside(warp, stored), grey, torch.zeros(()))
    rows, columns = torch.meshgrid(torch.arange(warp.height) + 0.5, torch.arange(warp.width) + 0.5, indexing="ij")
    found = float((grey * columns).sum() / grey.sum()), float((grey * rows).sum() / grey.sum())
    expected = warp.scale_x * x + warp.shift_x, warp.scale_y * y + warp.shift_y
    assert found == pytest.approx(expected, abs=0.3)
    principal = warp.intrinsics(torch.tensor([[500.0, 0, x], [0, 500.0, y], [0, 0, 1]]))
    assert (float(principal[0, 2]), float(principal[1, 2])) == pytest.approx(expected)
    assert float(principal[0, 0]) == pytest.approx(500 * warp.scale_x)


def _inside(warp: Warp, stored: tuple[int, int]) -> torch.Tensor:
    ones = np.ones((stored[1], stored[0]), np.float32)
    return torch.from_numpy(warp.depth(ones, stored)) > 0


def test_cover_keeps_the_shape_and_cuts_both_sides_alike() -> None:
    """QuantVGGT's release makes 640 x 480 to 522 x 392, then cuts 2 columns off either side."""
    array = np.zeros((480, 640, 3), np.uint8)
    array[:, 320:] = 255
    pixels, warp = fit(Image.fromarray(array), entry("cover", 518, 392))
    assert warp == Warp(522 / 640, 392 / 480, -2, 0, 518, 392)
    resized = Image.fromarray(array).resize((522, 392), Image.Resampling.LANCZOS).crop((2, 0, 520, 392))
    expected = np.asarray(resized, dtype=np.float32).transpose(2, 0, 1) / 255
    np.testing.assert_array_equal(pixels.numpy(), expected)


@pytest.mark.parametrize("resize", ["crop", "pad", "squash", "keep", "cover"])
def test_depth_goes_where_the_picture_goes(resize: str) -> None:
    stored = (300, 500)
    rows, columns = np.mgrid[0 : stored[1], 0 : stored[0]].astype(np.float32)
    _, warp = fit(Image.new("RGB", stored), entry(resize, 140, 112 if resize == "cover" else None))
    y, x = np.mgrid[0 : warp.height, 0 : warp.width] + 0.5
    for plane, at, scale, shift in (
        (columns + 1, x, warp.scale_x, warp.shift_x),
        (rows + 1, y, warp.scale_y, warp.shift_y),
    ):
        found = warp.depth(plane, stored)
        valid = found > 0
        assert np.abs((at[valid] - shift) / scale - (found[valid] - 0.5)).max() <= 0.5 + 1e-3
        assert valid.mean() > (0.5 if resize == "pad" else 0.99)


def test_depth_of_another_resolution_covers_the_same_picture() -> None:
    _, warp = fit(Image.new("RGB", (280, 280)), entry("crop", 140))
    coarse = np.array([[1, 2], [3, 4]], np.float32)
    found = warp.depth(coarse, (280, 280))
    assert (found[:70, :70] == 1).all()
    assert (found[70:, 70:] == 4).all()


def test_transparency_becomes_white() -> None:
    clear = Image.new("RGBA", (4, 4), (0, 0, 0, 0))
    assert np.asarray(over_white(clear)).min() == 255
    assert over_white(Image.new("L", (4, 4), 7)).mode == "RGB"


def test_margins_are_even() -> None:
    assert margins(Warp(1, 1, 0, 0, 14, 28), 42, 57) == (14, 14, 14, 15)


@pytest.mark.parametrize("mode", ["I;16", "I", "F"])
def test_pictures_that_are_not_of_8_bits_are_refused(mode: str) -> None:
    with pytest.raises(BadData, match="8 bits per channel"):
        fit(Image.new(mode, (64, 48)), entry("crop", 84))


def test_a_line_is_no_photograph() -> None:
    with pytest.raises(BadData, match="1 x 30000 pixels are no photograph"):
        fit(Image.new("RGB", (1, 30000)), entry("crop", 518))


@pytest.mark.parametrize(("aspect", "how"), [(1e-6, "1e-06"), (1e6, "1e+06"), (float("nan"), "nan"), (0.0, "0")])
@pytest.mark.parametrize("way", [entry("crop", 518), AREA], ids=["crop", "area"])
def test_the_shape_that_is_shown_is_bounded_as_the_stored_one(way: ProtocolEntry, aspect: float, how: str) -> None:
    with pytest.raises(BadData, match=re.escape(f"64 x 48 pixels that show {how} : 1 are no photograph")):
        fit(Image.new("RGB", (64, 48)), way, aspect)


def test_one_patch_shows_nothing() -> None:
    with pytest.raises(BadData, match="100 x 10 pixels become 112 x 14; at least 28 are needed each way"):
        fit(Image.new("RGB", (100, 10)), entry("crop", 112))


@pytest.mark.parametrize(
    "values", [{"width": 10**9}, {"width": 84, "stride": 0}, {"width": 84, "seed": -1}, {"pixels": 10**12}]
)
def test_sizes_of_a_protocol_are_bounded(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="should be"):
        ProtocolEntry.model_validate({"frames": "all", **values})


def test_height_is_rounded_as_vggt_rounds_it() -> None:
    pixels, _ = fit(Image.new("RGB", (106, 159)), entry("pad", 518))
    assert pixels.shape == (3, 518, 518)
    _, warp = fit(Image.new("RGB", (159, 106)), entry("crop", 518))
    assert warp.height == round(106 * (518 / 159) / 14) * 14


@pytest.mark.parametrize(
    ("stored", "expected"),
    [((640, 480), (574, 434)), ((1920, 1080), (672, 378)), ((900, 900), (504, 504)), ((64, 48), (574, 434))],
)
def test_the_area_decides_the_size_as_in_the_demo_of_pi3(stored: tuple[int, int], expected: tuple[int, int]) -> None:
    pixels, warp = fit(Image.new("RGB", stored), AREA)
    assert (warp.width, warp.height) == expected
    assert pixels.shape == (3, expected[1], expected[0])


@pytest.mark.parametrize(("wide", "high"), [(1.0, 20.0), (20.0, 1.0), (3.0, 2.0), (0.7, 1.0)])
@pytest.mark.parametrize("pixels", [196, 1000, 255_000])
def test_an_area_is_never_more_than_asked_for(wide: float, high: float, pixels: int) -> None:
    width, height = area_size(wide, high, pixels)
    assert width % 14 == height % 14 == 0
    assert 0 < width * height <= pixels


def test_all_pictures_of_a_sequence_get_the_size_of_the_first() -> None:
    _, first = fit(Image.new("RGB", (640, 480)), AREA)
    x, y = 300, 400
    pixels, warp = fit(marked(480, 640, x, y), AREA, first=first)
    assert pixels.shape == (3, 434, 574)
    assert (warp.scale_x, warp.scale_y) == pytest.approx((574 / 480, 434 / 640))
    row, column = divmod(int(pixels.mean(0).argmax()), 574)
    assert abs(column - warp.scale_x * x) <= 10 * warp.scale_x
    assert abs(row - warp.scale_y * y) <= 10 * warp.scale_y


def test_what_is_kept_is_resampled_by_lanczos() -> None:
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(0, 255, (280, 280, 3), np.uint8))
    for name, filter_ in (("keep", Image.Resampling.LANCZOS), ("crop", Image.Resampling.BICUBIC)):
        expected = np.asarray(picture.resize((140, 140), filter_), np.float32) / 255
        np.testing.assert_allclose(fit(picture, entry(name, 140))[0].permute(1, 2, 0).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(
    "values",
    [{"resize": "area"}, {"resize": "area", "pixels": 9, "width": 5}, {"resize": "crop"}, {"width": 5, "pixels": 9}],
)
def test_width_and_pixels_belong_to_their_ways(values: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="pixels"):
        ProtocolEntry.model_validate({"frames": "all", **values})
