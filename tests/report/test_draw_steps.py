"""What refined latents save over the number of steps, from small stores."""

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from rdpipe.core.errors import InputError
from rdpipe.io import store
from rdpipe.report.draw_steps import step_gains, steps

STEPS = {"ten": 10, "hundred": 100, "other": 50}


@pytest.fixture
def results(tmp_path):
    """Stores of three refinements of 2 megapixels, in two shards and at two qualities."""
    for name, count in STEPS.items():
        refinement = {"steps": count, "quantizer": "rounding", "learning_rate": 0.02}
        if name == "other":
            refinement |= {"quantizer": "lattice-e8", "learning_rate": 0.01}
        for quality in (1, 2):
            for shard in (0, 1):
                for kind, values in (
                    ("refined", {"seconds": [0.5 * count]}),
                    ("images", {"pixels": [1e6]}),
                ):
                    path = tmp_path / f"d/{name}/q{quality}/{kind}/{shard}.zarr.zip"
                    table = xr.Dataset({key: ("image", np.array(v)) for key, v in values.items()})
                    with store.create(path, {"refinement": refinement}) as writer:
                        writer.write(table)
    return tmp_path


@pytest.fixture
def rates():
    rows = [
        ("hundred", "refined", -9.0, -10.0, -8.2),
        ("ten", "refined", -0.7, -1.0, -0.4),
        ("other", "refined", -10.0, -11.0, -9.0),
        ("jpeg", "baseline", 50.0, 49.0, 51.0),
    ]
    columns = ["curve", "role", "bd_rate", "bd_rate_low", "bd_rate_high"]
    return pd.DataFrame(rows, columns=columns).assign(dataset="d", measure="psnr")


def test_gains_have_steps_intervals_and_seconds(results, rates):
    gains = step_gains(results, rates, "psnr").set_index("curve")
    assert list(gains.index) == ["ten", "other", "hundred"]
    assert gains["steps"].to_dict() == STEPS
    assert gains["seconds"].to_dict() == {"ten": 5.0, "other": 25.0, "hundred": 50.0}
    assert gains.loc["hundred", ["saved", "low", "high"]].tolist() == [9.0, 8.2, 10.0]
    assert gains["settings"].to_dict() == {
        "ten": "rounding, learning_rate 0.02",
        "hundred": "rounding, learning_rate 0.02",
        "other": "lattice-e8, learning_rate 0.01",
    }


def test_figure_has_a_line_for_each_quantizer(results, rates):
    figure = steps(step_gains(results, rates, "psnr"))
    (axes,) = figure.axes
    lines = {line.get_label(): line for line in axes.lines if line.get_label()[0] != "_"}
    assert list(lines["rounding, learning_rate 0.02"].get_xdata()) == [10, 100]
    assert list(lines["lattice-e8, learning_rate 0.01"].get_ydata()) == [10.0]
    assert {text.get_text() for text in axes.texts} == {"5 s", "25 s", "50 s"}
    plt.close(figure)


def test_settings_that_all_have_in_common_are_not_named(results, rates):
    gains = step_gains(results, rates[rates["curve"] != "other"], "psnr")
    assert set(gains["settings"]) == {"rounding"}


def test_one_number_of_steps_is_refused(results, rates):
    with pytest.raises(InputError, match="that differ in `steps` alone; found hundred, other"):
        step_gains(results, rates[rates["curve"] != "ten"], "psnr")
    with pytest.raises(InputError, match="found no curve of refined latents"):
        step_gains(results, rates[rates["role"] == "baseline"], "psnr")
