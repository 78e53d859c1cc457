"""Fits of reconstructions, as other stages read them."""

import numpy as np
import pytest
from small_run import SmallRun, cells, photographs

from rdpipe.core.errors import InputError
from rdpipe.io import store
from rdpipe.quantizers.reconstruction import KNOTS
from rdpipe.stages.fit_reconstruction import middle, select
from rdpipe.stages.inputs import read_fits

PLAIN, CALIBRATED = "codec/codec/test-channel", "codec/codec/test-channel/calibrated"


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Calibration images, and the reconstruction of the test channel that is fitted on them."""
    run = SmallRun(tmp_path_factory.mktemp("calibration"), photographs(2, top=150))
    return run, run.fit("test-channel")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """Other images."""
    return SmallRun(tmp_path_factory.mktemp("scored"), photographs(1))


def test_fit_is_read_as_those_of_estimators(fitted, scored):
    run, path = fitted
    for table in (None, scored.table):
        fits = read_fits([path], table)
        assert list(fits) == [("reconstruction", "test-channel")]
        (state,) = fits["reconstruction", "test-channel"].values()
        assert state["gain"].shape == (len(KNOTS),) and state["mse"].shape == (2,)
    assert sorted(store.read(path)["fitted_on"].values) == sorted(run.table["sha256"].values)


def test_fit_reduces_the_error_of_the_calibration_images(fitted):
    """From that of the codec's own pictures, whose quality the plain cell has."""
    run, path = fitted
    plain, calibrated = store.read(path, "state/y")["mse"].values
    assert calibrated < plain
    codec_psnr = 10 * np.log10(255**2 / run.table["mse"].values)
    assert 10 * np.log10(255**2 / plain) == pytest.approx(codec_psnr.mean(), abs=0.5)


def test_images_that_it_was_fitted_on_are_refused(fitted):
    run, path = fitted
    message = r"reconstruction 'test-channel' was fitted on images .*\(0.png, 1.png\)"
    with pytest.raises(InputError, match=message):
        run.simulate(cells(CALIBRATED), [path])


def test_calibrated_cell_without_a_fit_is_refused(scored):
    with pytest.raises(InputError, match=f"cell {CALIBRATED}: the reconstruction must be fitted"):
        scored.simulate(cells(CALIBRATED))


def test_calibrated_cell_has_the_same_rate_at_a_level_and_a_lower_one_at_its_quality(
    fitted, scored
):
    """The reconstruction costs no bits, and brings the cell to the quality at a higher level."""
    _, path = fitted
    both = cells(PLAIN, CALIBRATED)
    fixed = store.read(scored.simulate(both, [path], level=0.07))
    assert fixed["bits"][0].item() == fixed["bits"][1].item()
    assert fixed["mse"][0].item() != fixed["mse"][1].item()
    solved = store.read(scored.simulate(both, [path])).isel(image=0)
    codec_psnr = 10 * np.log10(255**2 / scored.table["mse"].item())
    np.testing.assert_allclose(10 * np.log10(255**2 / solved["mse"].values), codec_psnr, atol=0.05)
    plain, calibrated = solved["bits"].values
    assert calibrated < plain
    assert (solved["kind"] == "upper bound on R(D)").all()


def test_part_in_the_middle_of_evenly_spaced_images_is_used():
    rows, columns = np.indices((301, 100))
    part = middle(np.stack([rows, columns], 2))
    assert part.shape == (192, 100, 2)
    assert part[0, 0].tolist() == [54, 0] and part[-1, -1].tolist() == [245, 99]
    assert list(select([*range(40)]))[:3] == [0, 3, 5] and len(list(select([*range(40)]))) == 16
    assert list(select([*range(3)])) == [0, 1, 2]
