"""What rules derive from a config: files, and what each job depends on."""

import itertools
import sys
from pathlib import Path

import pytest

from rdpipe.config.check import complete
from rdpipe.config.query import (
    COMPONENTS,
    analyzed_codecs,
    base_codec,
    bitstream_cells,
    bitstream_spec,
    calibrated_quantizers,
    coded_codecs,
    exported_curves,
    fitted_estimators,
    gap_spec,
    needs_gain,
    reconstruction_spec,
    refinement_cells,
    refinement_spec,
    simulated_cells,
    simulation_spec,
    slope_qualities,
    used_modules,
    used_weights,
)
from rdpipe.core.axes import AXES, BASELINE_CELL

SCHEMA = Path(__file__).parents[2] / "workflow" / "schema.yaml"
CODEC = {"datasets": {"sample": {}}, "codecs": {"mini-mean-scale": {"qualities": [1]}}}
JOINT = {
    "use": "trained",
    "qualities": [1],
    "bound_for": {
        "codec": "mini-mean-scale",
        "cell": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"},
    },
}
WITH_BOUND = {**CODEC, "codecs": {**CODEC["codecs"], "joint": JOINT}}


def test_components_are_those_of_the_axes_in_the_papers_order():
    assert list(COMPONENTS.items()) == [
        ("variance", "variance"),
        ("quantization", "quantizer"),
        ("context", "mean"),
        ("joint", None),
    ]


def test_every_exported_curve_has_a_separate_file():
    cell = {"mean": "zero", "variance": "codec", "quantizer": "rounding"}
    config = {
        **WITH_BOUND,
        "baselines": {"jpeg": {"qualities": [5]}},
        "simulate": {"curves": [cell]},
    }
    curves = exported_curves(complete(config, SCHEMA))
    assert list(curves) == [
        "sample/mini-mean-scale",
        "sample/mini-mean-scale_zero-codec-rounding",
        "sample/mini-mean-scale_codec-codec-rounding",
        "sample/mini-mean-scale_codec-codec-test-channel",
        "sample/mini-mean-scale_joint",
        "sample/jpeg",
    ]
    assert curves["sample/jpeg"] == {
        "dataset": "sample",
        "codec": None,
        "curve": "jpeg",
        "name": "jpeg",
    }


def test_baseline_depends_only_on_its_own_module():
    vtm = {
        "use": "external",
        "args": {"encode": "a {input} {output}", "decode": "b {input} {output}"},
        "qualities": [22],
    }
    config = {**CODEC, "baselines": {"jpeg": {"qualities": [5]}, "vtm": vtm}}
    config = complete(config, SCHEMA)
    assert used_modules(config, {"baselines": ["jpeg"]}) == ["rdpipe.baselines.classical"]
    assert used_modules(config, {"means": config["means"], "baselines": ["vtm"]}) == [
        "rdpipe.baselines.external",
        "rdpipe.estimators.means",
    ]


def test_weights_are_those_of_the_codecs_that_are_used():
    refined = {"use": "refined", "args": {"codec": "mini-mean-scale"}, "qualities": [1]}
    config = complete({**CODEC, "codecs": {**CODEC["codecs"], "better": refined}}, SCHEMA)
    for codec in ("mini-mean-scale", "better"):
        (file,) = used_weights(config, {"codecs": [codec]})
        assert file.name == "mini-mean-scale.safetensors" and file.exists()
    assert used_weights(config, {"means": ["codec"]}) == []


def test_component_depends_only_on_the_axis_that_it_moves_along():
    config = complete(CODEC, SCHEMA)
    sections = {axis.section for axis in AXES}
    slices = {part["component"]: part for part in gap_spec(config)["slices"]}
    assert list(slices) == list(COMPONENTS)  # the order of the outputs
    for component, moved in (
        ("variance", "variances"),
        ("quantization", "quantizers"),
        ("context", "means"),
    ):
        spec = slices[component]
        assert spec[moved] == config[moved]
        assert all(len(spec[other]) == 1 for other in sections - {moved})
    joint = slices["joint"]
    assert list(joint["quantizers"]) == ["rounding", "test-channel"]  # of the codec and the limit
    assert list(joint["variances"]) == list(joint["means"]) == ["codec"]


def test_simulation_depends_only_on_the_estimators_of_its_cells():
    spec = simulation_spec(complete(CODEC, SCHEMA), "mini-mean-scale")
    assert set(spec["variances"]) == {"codec", "channel"}
    assert spec["curves"]["codec/channel/rounding"]["variance"] == "channel"
    assert spec["measure"] == "psnr" and "level" not in spec


def test_corners_of_every_limit_are_simulated_and_coded():
    limit = {"mean": "zero", "variance": "channel", "quantizer": "test-channel"}
    config = complete({**CODEC, "limits": {"l": limit}, "simulate": {"curves": []}}, SCHEMA)
    cells = set(map(str, simulated_cells(config, "mini-mean-scale")))
    parts = itertools.product(("codec", "zero"), ("codec", "channel"), ("rounding", "test-channel"))
    assert cells == set(map("/".join, parts))
    assert cells <= set(bitstream_spec(config, next(iter(config["codecs"])))["cells"])


def test_calibrated_cells_need_the_fit_of_their_quantizer():
    datasets = {"sample": {}, "sample-calibration": {}}
    config = complete({**CODEC, "datasets": datasets, "calibration": "sample-calibration"}, SCHEMA)
    cells = simulated_cells(config, "mini-mean-scale")
    assert calibrated_quantizers(cells) == ["test-channel"]
    spec = reconstruction_spec(config, "test-channel")
    assert list(spec["quantizers"]) == ["test-channel"] and list(spec["means"]) == ["codec"]


def test_codec_that_is_a_bound_is_simulated_only_as_it_was_trained():
    config = complete(WITH_BOUND, SCHEMA)
    spec = simulation_spec(config, "joint")
    assert list(spec["curves"]) == ["codec/codec/test-channel"] and spec["level"] == 1 / 12
    assert list(analyzed_codecs(config)) == ["mini-mean-scale"]


USER_PARTS = """
from rdpipe.estimators.base import FittedEstimator
from rdpipe.estimators.variances import CalibratedVariance
from rdpipe.quantizers.test_channel import WeightedTestChannel


class Calibrated(CalibratedVariance):
    pass


def factory():
    return Calibrated()


class Weighted(WeightedTestChannel):
    pass
"""


@pytest.fixture
def user_parts(tmp_path, monkeypatch):
    (tmp_path / "user_parts_of_query.py").write_text(USER_PARTS)
    monkeypatch.syspath_prepend(tmp_path)
    yield "user_parts_of_query"
    sys.modules.pop("user_parts_of_query", None)


def test_traits_are_those_of_the_class_and_a_function_has_none(user_parts):
    entries = {
        "means": {"codec": {}, "linear-causal": {}},
        "variances": {
            "codec": {},
            "class": {"use": f"{user_parts}:Calibrated"},
            "function": {"use": f"{user_parts}:factory"},
        },
    }
    assert fitted_estimators(entries) == [("mean", "linear-causal"), ("variance", "class")]
    config = {**entries, "calibration": "other", "quantizers": {"test-channel": {}}}
    assert not needs_gain(config, "other")
    config["quantizers"] = {"mine": {"use": f"{user_parts}:Weighted"}}
    assert needs_gain(config, "other") and not needs_gain(config, "sample")


def with_refined(base_qualities, quantizers=("rounding", "test-channel"), **entry):
    """Return a complete config with a codec of some qualities and a refined one."""
    sections = {"quantizers": {name: {} for name in quantizers}}
    codecs = {
        "mini-mean-scale": {"qualities": base_qualities},
        "better": {
            "use": "refined",
            "args": {"codec": "mini-mean-scale"},
            "qualities": [1],
            **entry,
        },
    }
    return complete({**CODEC, **sections, "codecs": codecs}, SCHEMA)


@pytest.mark.parametrize(
    ("qualities", "quality", "expected"),
    [
        ([2], 2, [2]),
        ([1, 2], 2, [1, 2]),
        ([1, 2, 3, 4], 1, [1, 2, 3]),
        ([4, 3, 2, 1], 2, [1, 2, 3]),
        ([1, 2, 3, 4], 4, [2, 3, 4]),
        ([1, 3], 2, [1, 2, 3]),
    ],
)
def test_slope_is_measured_with_the_nearest_qualities(qualities, quality, expected):
    assert slope_qualities(with_refined(qualities), "better", quality) == expected


def test_refined_codec_that_is_only_a_rung_is_simulated_as_it_is_rounded():
    config = with_refined([1], analyze=False)
    assert list(analyzed_codecs(config)) == ["mini-mean-scale"]
    assert {cell.quantizer for cell in simulated_cells(config, "better")} == {"rounding"}
    assert "level" not in simulation_spec(config, "better")


def test_refined_bound_has_the_level_of_its_refinement():
    args = {"codec": "mini-mean-scale", "quantizer": "test-channel", "theta": 0.2}
    config = with_refined([1], args=args)
    assert simulation_spec(config, "better")["level"] == 0.2
    assert base_codec(config, "better") == "mini-mean-scale"


@pytest.mark.parametrize("step", [1.0, 0.8])
def test_latents_refined_for_a_lattice_have_real_bytes_of_its_cell_at_its_step(step):
    args = {"codec": "mini-mean-scale", "quantizer": "lattice-e8"}
    args = args if step == 1.0 else {**args, "step": step}
    config = with_refined([1], args=args, quantizers=("rounding", "lattice-e8", "test-channel"))
    (cell,) = simulated_cells(config, "better")
    assert cell == BASELINE_CELL.replace(quantizer="lattice-e8")._replace(
        reconstruction=cell.reconstruction
    )
    assert refinement_cells(config, "better") == bitstream_cells(config, "better") == [cell]
    assert simulation_spec(config, "better")["level"] == step
    assert "better" in coded_codecs(config)
    assert refinement_spec(config, "better", 1)["refinement"]["step"] == step


def test_latents_refined_for_rounding_need_no_reconstruction():
    assert refinement_cells(with_refined([1]), "better") == []


def test_curve_of_a_refined_codec_is_exported_with_those_of_its_codec():
    curves = exported_curves(with_refined([1], analyze=False))
    assert curves["sample/mini-mean-scale_better"]["curve"] == "better"


def test_lambdas_are_in_the_order_of_the_qualities():
    args = {"codec": "mini-mean-scale", "lambdas": [0.02, 0.005]}
    config = with_refined([2, 3], args=args, qualities=[3, 2])
    specs = [refinement_spec(config, "better", quality) for quality in (3, 2)]
    assert [spec["slope"] for spec in specs] == [0.02, 0.005]
    assert specs[0]["neighbors"] == [3] and "lambdas" not in specs[0]["refinement"]
