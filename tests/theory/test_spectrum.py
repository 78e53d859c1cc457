"""Power spectra against the autocovariance of their fields, and a power law."""

import numpy as np
import pytest

from rdpipe.theory import field_spectrum


@pytest.mark.parametrize("rho", [0.0, 0.5, -0.3, 0.95])
def test_separable_field_has_the_autocovariance_of_an_ar1_process(rho):
    """The inverse transform of a sampled spectrum is the periodic sum of rho^|lag|."""
    size = 64
    lag = np.arange(size)
    periods = lag[:, None] + size * np.arange(-40, 41)
    line = (rho ** np.abs(periods)).sum(1) if rho else (lag == 0).astype(float)
    covariance = np.fft.ifft2(field_spectrum(size, rho=rho)).real
    np.testing.assert_allclose(covariance, np.outer(line, line) / line[0] ** 2, atol=1e-12)


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 2.5])
def test_power_law_has_its_slope_and_no_mean(exponent):
    spectrum = field_spectrum(64, exponent=exponent)
    frequency = np.fft.fftfreq(64)
    radius = np.hypot(frequency[:, None], frequency)
    slope = np.log(spectrum[0, 20] / spectrum[0, 5]) / np.log(radius[0, 20] / radius[0, 5])
    assert slope == pytest.approx(-exponent, abs=1e-12)
    ratio = spectrum[radius > 0] * radius[radius > 0] ** exponent
    np.testing.assert_allclose(ratio, ratio[0])
    assert spectrum[0, 0] == (0 if exponent else ratio[0])


@pytest.mark.parametrize("parameters", [{"rho": 0.9}, {"exponent": 2.0}])
@pytest.mark.parametrize("size", [2, 7, 64])
def test_field_has_unit_variance(size, parameters):
    spectrum = field_spectrum(size, **parameters)
    assert spectrum.shape == (size, size)
    assert spectrum.mean() == pytest.approx(1, rel=1e-12)
    assert (spectrum >= 0).all()


@pytest.mark.parametrize(
    "size, parameters, message",
    [
        (8, {}, "rho is None and exponent is None; expected exactly one of them"),
        (8, {"rho": 0.5, "exponent": 2.0}, "rho is 0.5 and exponent is 2.0; expected exactly one"),
        (8, {"rho": 1.0}, "rho is 1.0; expected -1 < rho < 1"),
        (8, {"rho": float("nan")}, "rho is nan; expected -1 < rho < 1"),
        (8, {"exponent": -1.0}, "exponent contains -1.0; expected finite numbers >= 0"),
        (8, {"exponent": float("nan")}, "exponent contains nan; expected finite numbers >= 0"),
        (0, {"rho": 0.5}, "size is 0; expected 1, 2, 3, ..."),
        (1, {"exponent": 2.0}, "size is 1; expected 2, 3, 4, ..."),
    ],
)
def test_invalid_arguments_are_refused(size, parameters, message):
    with pytest.raises(ValueError, match=message):
        field_spectrum(size, **parameters)
