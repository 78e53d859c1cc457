"""Looks of the curves."""

import itertools

import numpy as np
import pytest
from skimage.color import deltaE_ciede2000, rgb2lab

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.report import style, words


@pytest.mark.parametrize("styles", [style.STYLES, style.WEB_STYLES])
def test_kinds_differ_in_more_than_color(styles):
    looks = [tuple(map(str, look.values())) for look in styles.values()]
    assert len(set(looks)) == len(looks)
    assert styles.keys() == words.KINDS.keys() == set(BoundKind)
    assert not {"open", "white"} & set(str(styles[BoundKind.ACHIEVED]).split("-"))


def test_color_depends_on_the_role():
    colors = style.curve_colors(CurveRole)
    assert colors == ["#000000", *style.COLORS[:4], *style.GRAYS]


LADDER_TERMS = (
    "coder",
    "prior",
    "variance",
    "context",
    "encoder",
    "decoder",
    "quantization",
    "transforms",
)
"""Terms in the order of the rungs."""
DEFICIENCIES = {
    "none": np.eye(3),
    "protanopia": [
        [0.152286, 1.052583, -0.204868],
        [0.114503, 0.786281, 0.099216],
        [-0.003882, -0.048116, 1.051998],
    ],
    "deuteranopia": [
        [0.367322, 0.860646, -0.227968],
        [0.280085, 0.672501, 0.047413],
        [-0.011820, 0.042940, 0.968881],
    ],
    "tritanopia": [
        [1.255528, -0.076749, -0.178779],
        [-0.078411, 0.930809, 0.147602],
        [0.004733, 0.691367, 0.303900],
    ],
}
"""Of linear RGB: Machado, Oliveira and Fernandes, IEEE TVCG 2009, severity 1."""


def rgb_of(colors, lighter=0.0):
    """Return colors, and with a share of white, in [0, 1]."""
    codes = [[int(color[i : i + 2], 16) for i in (1, 3, 5)] for color in colors]
    return (1 - lighter) * np.array(codes) / 255 + lighter


def linear(rgb):
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def lab_of(rgb, matrix):
    """Return sRGB colors as they are seen with a deficiency, in CIELAB."""
    light = np.clip(linear(rgb) @ np.transpose(matrix), 0, 1)
    return rgb2lab(np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055))


@pytest.mark.parametrize("lighter, least", [(0.0, 15), (style.LIGHTER, 10)])
@pytest.mark.parametrize("deficiency", DEFICIENCIES)
def test_any_two_colors_of_terms_differ_for_every_reader(deficiency, lighter, least):
    colors = list(style.TERM_COLORS.values())
    lab = lab_of(rgb_of(colors, lighter), DEFICIENCIES[deficiency])
    differences = {
        (a, b): float(deltaE_ciede2000(lab[i], lab[j]))
        for (i, a), (j, b) in itertools.combinations(enumerate(style.TERM_COLORS), 2)
    }
    assert min(differences.values()) >= least, min(differences, key=differences.get)


@pytest.mark.parametrize("colors", [style.COLORS, [style.TERM_COLORS[t] for t in LADDER_TERMS]])
def test_neighbors_differ_in_grayscale(colors):
    """Curves in their order, and the steps of a ladder in theirs."""
    lightness = rgb2lab(rgb_of(colors))[:, 0]
    assert np.abs(np.diff(lightness)).min() >= 10


def test_colors_of_curves_are_those_of_the_palette_and_every_term_has_one():
    assert set(style.COLORS) <= set(style.TERM_COLORS.values())
    assert set(words.TERM_NAMES) == set(style.TERM_COLORS)
    assert set(words.TERMS) - {"total"} <= set(style.TERM_COLORS)


@pytest.mark.parametrize("lighter, background", [(0.0, 1.0), (style.LIGHTER, 0.0086)])
def test_colors_stand_out_from_the_background(lighter, background):
    """Of light pages, and of dark ones, whose luminance is given."""
    luminance = linear(rgb_of(style.COLORS, lighter)) @ [0.2126, 0.7152, 0.0722]
    high, low = np.maximum(luminance, background), np.minimum(luminance, background)
    assert ((high + 0.05) / (low + 0.05)).min() > 2.2


def test_unknown_kind_is_refused():
    assert style.kind_label("genie-aided estimate") == "genie-aided estimate, not a bound"
    with pytest.raises(InputError, match="'genie' is not a valid bound kind"):
        style.kind_label("genie")
