"""Gaussian fields have the covariance and the power spectrum of their models."""

import numpy as np
import pytest

from rdpipe.core.errors import InputError
from rdpipe.datasets import gaussian_field
from rdpipe.datasets.image import load_image, read_image
from rdpipe.theory import field_spectrum


@pytest.fixture(scope="module")
def ar1_fields():
    sources = gaussian_field.find(size=512, count=4, rho=0.9, sigma=40.0)
    return [read_image(source.file)[0] for source in sources]


def test_ar1_field_has_the_covariance_of_its_model(ar1_fields):
    stack = np.stack(ar1_fields)[..., 0].astype(np.float64)
    for down, right in ((0, 0), (0, 1), (1, 0), (3, 2)):
        product = stack[:, down:, right:] * stack[:, : 512 - down, : 512 - right]
        assert product.mean() / 1600 == pytest.approx(0.9 ** (down + right), abs=0.06)
    columns = np.stack(
        [
            read_image(source.file)[0][:, 0, 0]
            for source in gaussian_field.find(size=64, count=100, rho=0.9)
        ]
    )
    assert columns.std() == pytest.approx(40, rel=0.06)  # stationary from the first column on


def test_power_law_field_has_its_power_spectrum():
    fields = [
        read_image(source.file)[0][..., 0]
        for source in gaussian_field.find(size=64, count=200, exponent=2.0)
    ]
    power = np.mean([np.abs(np.fft.fft2(f)) ** 2 for f in fields], axis=0) / 64**2 / 1600
    expected = field_spectrum(64, exponent=2.0)
    ratio = (power / np.where(expected > 0, expected, 1))[expected > 0]
    assert ratio.mean() == pytest.approx(1, abs=0.01) and ratio.std() < 0.15
    assert expected.mean() == pytest.approx(1)


def test_field_is_reproducible_and_has_a_digest():
    first, second = gaussian_field.find(size=16, count=2, rho=0.5)
    pixels, digest, _ = read_image(first.file)
    assert np.array_equal(load_image(first.file, digest), pixels) and pixels.shape == (16, 16, 1)
    assert not np.array_equal(read_image(second.file)[0], pixels)


@pytest.mark.parametrize(
    "args, message",
    [
        ({}, "either rho"),
        ({"rho": 0.5, "exponent": 1.0}, "either rho"),
        ({"rho": 1.0}, "rho is 1.0; expected -1 < rho < 1"),
        ({"rho": 0.1, "size": 0}, "size 0"),
        ({"rho": 0.1, "seed": -1}, "seed is -1; expected a number >= 0"),
        ({"rho": "high"}, "rho is 'high'; expected a number"),
        ({"rho": 0.1, "count": 2.5}, "count is 2.5; expected an integer"),
        ({"exponent": -1.0}, "exponent is -1.0; expected a finite number >= 0"),
    ],
)
def test_invalid_parameters_are_refused(args, message):
    with pytest.raises(InputError, match=message):
        gaussian_field.find(**args)
