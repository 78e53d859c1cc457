"""The config: its schema, its defaults, and what each gap depends on."""

from pathlib import Path

import pytest
import yaml

from rdpipe.config.check import complete
from rdpipe.config.query import AXES, analysed, checkpoint, curves, gap_axes, modules, simulation
from rdpipe.core.errors import InputError

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
        ({"anchors": {"avfi": {"qualities": [50]}}}, "unknown anchor 'avfi'; did you mean 'avif'"),
        ({"anchors": {"mini-mean-scale": {"use": "jpeg", "qualities": [5]}}}, "both have 'mini-mean-scale'"),
        ({"anchors": {"jpeg": {"quality": [50]}}}, "unknown key 'quality'; did you mean 'qualities'"),
        ({"anchors": {"jpeg": {"qualities": [50], "args": {"effort": 1}}}}, "keyword argument 'effort'"),
        ({"anchors": {"vtm": {"use": "external", "args": {"encode": "x"}, "qualities": [22]}}},
         "missing a required argument: 'decode'"),
        ({"simulate": {"curves": []}}, "simulate.curves"),
    ],
)  # fmt: skip
def test_mistakes_are_named(change, message):
    with pytest.raises(InputError, match=message):
        complete({**CODEC, **change}, SCHEMA)


def test_every_curve_has_a_file_of_its_own():
    config = beside("mini-mean-scale", "codec") | {"anchors": {"jpeg": {"qualities": [5]}}}
    config["simulate"] = {"curves": [{"mean": "zero", "variance": "codec", "quantizer": "rounding"}]}
    found = curves(complete(config, SCHEMA))
    assert list(found) == [
        "sample/mini-mean-scale",
        "sample/mini-mean-scale_zero-codec-rounding",
        "sample/mini-mean-scale_joint",
        "sample/jpeg",
    ]
    assert found["sample/jpeg"] == {"dataset": "sample", "codec": "", "curve": "jpeg", "name": "jpeg"}


def test_an_anchor_depends_only_on_its_own_module():
    anchors = {"jpeg": {"qualities": [5]}, "vtm": {"use": "external", "qualities": [22]}}
    vtm = {"encode": "a {input} {output}", "decode": "b {input} {output}"}
    config = complete({**CODEC, "anchors": {**anchors, "vtm": {**anchors["vtm"], "args": vtm}}}, SCHEMA)
    assert modules(config, anchors="jpeg") == ["rdpipe.codecs.classical"]
    assert modules(config, "means", anchors="vtm") == ["rdpipe.estimators.means", "rdpipe.codecs.external"]


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
    spec = simulation(complete(CODEC, SCHEMA), "mini-mean-scale")
    assert set(spec["variances"]) == {"codec", "channel", "window-5", "element"}
    assert spec["curves"]["codec/element/test-channel"]["variance"] == "element"


def beside(codec: str, mean: str) -> dict:
    curve = {"mean": mean, "variance": "codec", "quantizer": "test-channel"}
    joint = {"use": "gained", "qualities": [1], "beside": {"codec": codec, "curve": curve}}
    return {**CODEC, "codecs": {**CODEC["codecs"], "joint": joint}}


def test_a_codec_beside_another_is_simulated_as_it_was_trained():
    config = complete(beside("mini-mean-scale", "codec"), SCHEMA)
    spec = simulation(config, "joint")
    assert list(spec["curves"]) == ["codec/codec/test-channel"] and spec["levels"] == [1 / 12]
    assert list(analysed(config)) == ["mini-mean-scale"]


@pytest.mark.parametrize(
    "codec, mean, message",
    [
        ("mini", "codec", "unknown analysed codec 'mini'; known: mini-mean-scale"),
        ("joint", "codec", "unknown analysed codec 'joint'"),
        ("mini-mean-scale", "codex", "unknown mean 'codex'; did you mean 'codec'"),
    ],
)
def test_a_codec_beside_something_unknown_is_refused(codec, mean, message):
    with pytest.raises(InputError, match=message):
        complete(beside(codec, mean), SCHEMA)


@pytest.mark.parametrize("dataset", ["kodak", "other"])
def test_references_are_of_a_data_set_that_is_measured(dataset):
    config = {
        **CODEC,
        "datasets": {"sample": {}, "other": {"use": "sample"}},
        "calibration": "other",
    }
    with pytest.raises(InputError, match=f"unknown measured data set '{dataset}'; known: sample"):
        complete({**config, "references": {dataset: {"table": "a.csv"}}}, SCHEMA)


@pytest.mark.parametrize("section, name, message", [
    ("variances", "window-4", "window of size 4: allowed are odd"),
    ("means", "accuracy-150", "accuracy 150: allowed are 0 to 99"),
    ("anchors", "codec", "every codec's own curve has this name"),
    ("codecs", "codec", "every codec's own curve has this name"),
    ("pathvars", "result", "'result' is not one of"),
])  # fmt: skip
def test_what_would_fail_late_is_refused_at_once(section, name, message):
    entry = {"use": "dct", "qualities": [1]} if section == "codecs" else {"use": "jpeg", "qualities": [30]}
    entry = {"pathvars": "x", "variances": {}, "means": {}}.get(section, entry)
    starts = {"means": {"codec": {}, "zero": {}}, "variances": {"codec": {}, "window-5": {}, "element": {}}}
    given = {**starts.get(section, CODEC.get(section, {})), name: entry}
    with pytest.raises(InputError, match=message):
        complete({**CODEC, section: given}, SCHEMA)


def test_a_level_twice_is_refused():
    with pytest.raises(InputError, match="simulate.levels: .* non-unique"):
        complete({**CODEC, "simulate": {"levels": [0.1, 0.2, 0.1]}}, SCHEMA)


def test_quality_is_all_that_is_filled_into_the_name_of_a_checkpoint():
    config = {**CODEC, "codecs": {"c": {"use": "gained", "args": {"checkpoint": "w-{quality}.pt"}, "qualities": [3]}}}
    assert checkpoint(complete(config, SCHEMA), "c", 3) == "w-3.pt"
    config["codecs"]["c"]["args"]["checkpoint"] = "w-{quality!r}.pt"
    with pytest.raises(InputError, match="and no other braces"):
        complete(config, SCHEMA)
