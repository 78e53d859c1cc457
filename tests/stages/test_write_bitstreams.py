"""Real bytes of cells at the level at which they were simulated."""

import sys

import numpy as np
import pytest
import xarray as xr
from small_run import SmallRun, cells, photographs

from rdpipe.core.errors import InputError
from rdpipe.io import store

OWN, PLAIN, CALIBRATED, CHANNEL, BOUND = (
    "codec/codec/rounding",
    "codec/codec/deadzone",
    "codec/codec/deadzone/calibrated",
    "codec/channel/deadzone",
    "codec/codec/test-channel",
)
CODED = cells(OWN, PLAIN, CALIBRATED, CHANNEL, BOUND)
CODEC_WITHOUT_DECODER = """
import numpy as np

from rdpipe.codecs.two_methods import TwoMethods


class Gray:
    def analyse(self, image):
        y = image.mean(2)[None] / 10
        return y, np.full_like(y, 12.0), np.full_like(y, 4.0)

    def synthesise(self, y_hat, height, width):
        gray = (10 * y_hat[0, :, :, None]).round().clip(0, 255)
        return np.repeat(gray, 3, 2).astype(np.uint8)


def gray(quality):
    return TwoMethods(Gray())
"""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return SmallRun(tmp_path_factory.mktemp("coded"), photographs(2))


@pytest.fixture(scope="module")
def fit(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibration")
    return [SmallRun(folder, photographs(1, top=150)).fit("deadzone")]


@pytest.fixture(scope="module")
def simulation(run, fit):
    return run.simulate(cells(OWN, PLAIN, CALIBRATED, BOUND), fit)


@pytest.fixture(scope="module")
def streams(run, fit, simulation):
    return run.write(CODED, simulation, fit)


@pytest.fixture(scope="module")
def decoded(run, fit, streams):
    return store.read(run.read(CODED, streams, fit))


def test_only_cells_with_a_bitstream_are_coded(streams, decoded):
    expected = [OWN, PLAIN, CALIBRATED, CHANNEL]
    assert store.read(streams)["cell"].values.tolist() == expected
    assert decoded["cell"].values.tolist() == expected


@pytest.mark.parametrize("cell", [OWN, PLAIN, CALIBRATED])
def test_bytes_decode_to_the_psnr_that_was_simulated(run, simulation, decoded, cell):
    simulated, measured = (
        10 * np.log10(255**2 / table["mse"].values)
        for table in (store.read(simulation).sel(curve=cell), decoded.sel(cell=cell))
    )
    np.testing.assert_allclose(measured, simulated, atol=0.02)
    codec_psnr = 10 * np.log10(255**2 / run.table["mse"].values)
    np.testing.assert_allclose(measured, codec_psnr, atol=0.05)


@pytest.mark.parametrize("cell", [OWN, PLAIN, CALIBRATED])
def test_bytes_are_as_many_as_simulated(run, simulation, decoded, cell):
    bits = store.read(simulation)["bits"].sel(curve=cell).values + run.table["side_bits"].values
    np.testing.assert_allclose(8 * decoded["size"].sel(cell=cell), bits, rtol=0.02, atol=400)


def test_calibrated_cell_has_another_level_than_the_plain_one(simulation, decoded):
    """So its bytes are written at the level of its own cell."""
    plain, calibrated = store.read(simulation)["level"].sel(curve=[PLAIN, CALIBRATED]).values
    assert (plain != calibrated).all()
    sizes = decoded["size"].sel(cell=[PLAIN, CALIBRATED]).values
    higher = plain < calibrated
    assert (higher == (sizes[0] > sizes[1])).all()


def test_cell_that_was_not_simulated_is_coded_at_its_own_step(run, fit, simulation, streams):
    size = store.read(streams)["size"].sel(cell=CHANNEL).values
    fixed = run.simulate(cells(CHANNEL), out="fixed", level=1.0)
    bits = store.read(fixed)["bits"][0].values + run.table["side_bits"].values
    np.testing.assert_allclose(8 * size, bits, rtol=0.02, atol=400)
    assert size.min() > 0 and CHANNEL not in store.read(simulation)["curve"].values


def test_level_that_float32_does_not_have_is_coded(run):
    fixed = run.simulate(cells(PLAIN), out="fixed", level=1.1)
    decoded = store.read(run.read(cells(PLAIN), run.write(cells(PLAIN), fixed)))
    np.testing.assert_allclose(decoded["mse"], store.read(fixed)["mse"], rtol=0.005)


def test_cell_that_does_not_reach_the_quality_has_no_bytes(run, simulation, tmp_path):
    levels = store.read(simulation)
    levels["level"].loc[{"curve": PLAIN, "image": "1.png"}] = np.nan
    path = tmp_path / "missing.zarr.zip"
    with store.create(path, {}) as writer:
        writer.write(levels)
    coded = cells(PLAIN, OWN)
    streams = run.write(coded, path)
    decoded = store.read(run.read(coded, streams))
    for name in ("size", "mse"):
        missing = decoded[name].isnull()
        assert missing.sel(cell=PLAIN).values.tolist() == [False, True]
        assert not missing.sel(cell=OWN).any()
    digests = store.read(streams)["y_hat_sha256"].sel(cell=PLAIN).values
    assert digests[0] and not digests[1]


def test_simulation_without_an_image_is_refused_and_its_order_does_not_matter(
    run, simulation, tmp_path
):
    levels, path = store.read(simulation), tmp_path / "part.zarr.zip"
    coded = cells(PLAIN)
    expected = store.read(run.write(coded, simulation))
    for part, shorter in ((levels.isel(image=[1, 0]), False), (levels.isel(image=[0]), True)):
        with store.create(path, {}) as writer:
            writer.write(part)
        if shorter:
            with pytest.raises(InputError, match="part.zarr.zip: image '1.png' is missing"):
                run.write(coded, path)
        else:
            result = store.read(run.write(coded, path))
            assert (result["seconds"] > 0).all()
            xr.testing.assert_equal(result.drop_vars("seconds"), expected.drop_vars("seconds"))


def test_codec_that_does_not_decode_is_simulated_and_has_no_bitstreams(tmp_path, monkeypatch):
    (tmp_path / "codec_without_decoder.py").write_text(CODEC_WITHOUT_DECODER)
    monkeypatch.syspath_prepend(tmp_path)
    entry, coded = {"use": "codec_without_decoder:gray"}, cells(OWN, PLAIN)
    try:
        run = SmallRun(tmp_path, photographs(2), "gray", entry)
        simulation = run.simulate(coded)
        streams = run.write(coded, simulation)
        decoded = run.read(coded, streams)
    finally:
        sys.modules.pop("codec_without_decoder", None)
    assert store.read(simulation)["bits"].notnull().all()
    for path in (streams, decoded):
        table = store.read(path)
        assert dict(table.sizes) == {"cell": 0, "image": 2}
        assert table["size"].shape == (0, 2)
    assert store.read(decoded)["mse"].shape == (0, 2)
    assert store.read(streams, "1")["stream"].size == 0
