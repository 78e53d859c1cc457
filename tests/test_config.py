"""The config: its schema, its defaults, and what each gap depends on."""

from pathlib import Path

import pytest
import yaml

from rdpipe.config import AXES, complete, gap_axes, simulation
from rdpipe.errors import InputError

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "workflow" / "schema.yaml"
CODEC = {"datasets": {"sample": {}}, "codecs": {"mini-mean-scale": {"qualities": [1]}}}


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda f: f.stem)
def test_every_config_in_the_repository_is_valid(file):
    config = yaml.safe_load(file.read_text())
    done = complete(config, SCHEMA)
    assert done.keys() == yaml.safe_load(SCHEMA.read_text())["properties"].keys()


def test_every_key_has_a_meaning():
    schema = yaml.safe_load(SCHEMA.read_text())
    assert [key for key, value in schema["properties"].items() if "description" not in value
            and key != "simulate"] == []  # fmt: skip


def test_the_default_has_what_the_analysis_needs():
    done = complete(CODEC, SCHEMA)
    assert done["variances"].keys() == {"codec", "channel", "window-3", "window-5", "element"}
    assert done["means"].keys() == {"zero", "codec"}
    assert done["quantizers"].keys() == {"rounding", "test-channel"}
    assert done["simulate"]["levels"] and done["bootstrap"] == {"resamples": 300, "seed": 0}


def test_what_is_given_is_kept_and_the_input_is_not_changed():
    config = {**CODEC, "bootstrap": {"seed": 7}}
    assert complete(config, SCHEMA)["bootstrap"] == {"resamples": 300, "seed": 7}
    assert config["bootstrap"] == {"seed": 7}


@pytest.mark.parametrize(
    "change, message",
    [
        ({"datasets": {}}, "datasets"),
        ({"codecs": {"x": {"qualities": [1]}}}, "unknown codec 'x'"),
        ({"codecs": {"mini-mean-scale": {}}}, "'qualities' is a required property"),
        ({"codecs": {"mini-mean-scale": {"qualities": [-1]}}}, "-1 is less than the minimum"),
        ({"codecs": {"a/b": {"use": "gained", "qualities": [1]}}}, "'a/b' does not match"),
        ({"codecs": {"mine": {"use": "no_such_module:thing", "qualities": [1]}}}, "no module 'no_such_module'"),
        ({"datasets": {"sample": {"args": {"root": "x"}}}}, "unexpected keyword argument 'root'"),
        ({"datasets": {"photos": {"use": "folder"}}}, "missing a required argument: 'root'"),
        ({"variances": {"channel": {}}}, "variances must have 'codec'"),
        ({"limits": {"x": {"mean": "codec", "variance": "block", "quantizer": "rounding"}}}, "variance 'block'"),
        ({"simulate": {"levels": [0.1]}}, "simulate.levels"),
        ({"simulate": {"levels": [0.1, 0]}}, "simulate.levels.1"),
        ({"training": {"n": {"dataset": "kodak", "lambdas": [1], "steps": 1}}}, "dataset 'kodak'"),
        ({"matching": "images"}, "matching: 'images' is not one of"),
        ({"quantizers": {"rounding": {"args": {"step": 0.25}}, "test-channel": {}}},
         "quantizers.rounding is the codec as it is and takes neither use nor args"),
        ({"means": {"codec": {"use": "zero"}}}, "means.codec is the codec as it is"),
        ({"limits": {}}, "limits"),
        ({"simulate": {"curves": []}}, "simulate.curves"),
    ],
)  # fmt: skip
def test_mistakes_are_named(change, message):
    with pytest.raises(InputError, match=message):
        complete({**CODEC, **change}, SCHEMA)


def test_a_gap_depends_only_on_the_axis_it_moves_along():
    config = complete(CODEC, SCHEMA)
    for component, moved in (
        ("variance", "variances"),
        ("quantization", "quantizers"),
        ("context", "means"),
    ):
        axes = gap_axes(config, component)
        assert axes[moved] == config[moved]
        assert all(len(axes[other]) == 1 for other in set(AXES.values()) - {moved})
    assert all(gap_axes(config, "joint")[axis] == config[axis] for axis in AXES.values())


def test_a_simulation_depends_only_on_the_estimators_it_uses():
    config = complete(CODEC, SCHEMA)
    assert set(simulation(config)["variances"]) == {"codec", "channel", "window-5", "element"}
    assert simulation(config)["curves"]["codec/element/test-channel"]["variance"] == "element"
