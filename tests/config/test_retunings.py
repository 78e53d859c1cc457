"""Trainings of codecs from their own weights in a config, and the codecs that result."""

import copy
from pathlib import Path

import pytest

from rdpipe.config.check import complete
from rdpipe.config.query import (
    attached_codecs,
    coded_codecs,
    measured_datasets,
    networks,
    retuning_spec,
    retunings,
    simulation_spec,
    used_modules,
)
from rdpipe.core.errors import InputError

SCHEMA = Path(__file__).parents[2] / "workflow" / "schema.yaml"
QUANTIZERS = {"rounding": {}, "test-channel": {}, "lattice-e8": {}, "mine": {"use": "lattice-e8"}}
QUANTIZERS["weighted"] = {"use": "weighted-test-channel"}

E8_CELL = {"mean": "codec", "variance": "codec", "quantizer": "lattice-e8"}


def with_training(codec=None, **training):
    """Return a config with one training of a codec, and a codec that results."""
    entry = {"dataset": "photos", "steps": 1, "start": {"codec": "mini-mean-scale"}, **training}
    trained = {"use": "retuned", "args": {"training": "net"}, "qualities": [2], **(codec or {})}
    return {
        "datasets": {"sample": {}, "photos": {"use": "sample"}},
        "codecs": {"mini-mean-scale": {"qualities": [1, 2]}, "better": trained},
        "quantizers": copy.deepcopy(QUANTIZERS),
        "calibration": "photos",
        "training": {
            "net": entry,
            "small": {"dataset": "photos", "steps": 1, "lambdas": [0.01]},
        },
    }


def attached(role, is_bound=False, codec="mini-mean-scale", network="better"):
    return {"codec": codec, "role": role, "is_bound": is_bound, "network": network}


def completed(**changes):
    return complete(with_training(**changes), SCHEMA)


def test_default_is_the_decoder_for_the_test_channel_at_all_qualities():
    config = completed()
    assert (retunings(config).keys(), networks(config).keys()) == ({"net"}, {"small"})
    entry = config["training"]["net"]
    assert entry["start"] == {"codec": "mini-mean-scale", "quality": [1, 2]}
    spec = retuning_spec(config, "net", 2)
    assert (spec["train"], spec["quantizer"], spec["level"]) == (
        ["decoder"],
        "test-channel",
        1 / 12,
    )
    assert (spec["codec"], spec["quality"], spec["lambdas"]) == ("mini-mean-scale", 2, [0.01])
    assert "N" not in entry and "crop" in entry and "N" in config["training"]["small"]
    bound = config["codecs"]["better"]["bound_for"]
    assert (bound["codec"], bound["cell"]["quantizer"]) == ("mini-mean-scale", "test-channel")
    assert attached_codecs(config) == {"better": attached("retuned", is_bound=True)}
    assert simulation_spec(config, "better")["level"] == 1 / 12


@pytest.mark.parametrize(
    "train, lambdas, role",
    [
        (["decoder"], None, "retuned"),
        ("all", [0.1, 0.2], "joint"),
        (["prior", "encoder", "decoder"], [0.1, 0.2], "joint"),
    ],
)
def test_role_and_lambda_follow_from_what_is_trained(train, lambdas, role):
    values = {} if lambdas is None else {"lambdas": lambdas}
    config = completed(train=train, **values)
    assert attached_codecs(config) == {"better": attached(role, is_bound=True)}
    assert retuning_spec(config, "net", 2)["lambdas"] == ([0.2] if lambdas else [0.01])


@pytest.mark.parametrize(
    "quantizer, level, real",
    [("test-channel", 1 / 12, False), ("lattice-e8", 1.0, True), ("mine", 1.0, True)],
)
def test_level_and_real_bytes_follow_from_the_quantizer(quantizer, level, real):
    config = completed(quantizer=quantizer)
    assert simulation_spec(config, "better")["level"] == level
    assert ("better" in coded_codecs(config)) == real
    assert simulation_spec(completed(quantizer=quantizer, level=0.5), "better")["level"] == 0.5


@pytest.mark.parametrize("quantizer", ["rounding", "noise"])
def test_training_for_rounding_is_no_bound(quantizer):
    config = completed(quantizer=quantizer)
    assert "bound_for" not in config["codecs"]["better"]
    assert attached_codecs(config) == {"better": attached("retuned")}
    assert completed(quantizer=quantizer, codec={"analyze": False})


def with_refined(quantizer, refinement, **codec):
    """Return a config in which the latents of the retuned codec are refined."""
    level = {"level": 0.2} if refinement.get("quantizer", "rounding") == quantizer else {}
    level = {} if quantizer in ("rounding", "noise") else level
    config = with_training(quantizer=quantizer, **level)
    args = {"codec": "better", **refinement}
    config["codecs"]["refined"] = {"use": "refined", "args": args, "qualities": [2], **codec}
    return config


@pytest.mark.parametrize(
    "quantizer, refinement, attachment",
    [
        ("rounding", {}, attached("refined", codec="better")),
        ("noise", {}, attached("refined", codec="better")),
        ("test-channel", {"quantizer": "test-channel"}, attached("retuned", is_bound=True)),
        ("lattice-e8", {"quantizer": "lattice-e8"}, attached("retuned", is_bound=True)),
    ],
)
def test_refined_latents_of_a_retuned_codec_are_for_its_quantizer_and_level(
    quantizer, refinement, attachment
):
    config = complete(with_refined(quantizer, refinement), SCHEMA)
    assert attached_codecs(config)["refined"] == attachment
    if refinement:
        level = "theta" if quantizer == "test-channel" else "step"
        assert config["codecs"]["refined"]["args"][level] == 0.2
        assert simulation_spec(config, "refined")["level"] == 0.2


@pytest.mark.parametrize(
    "quantizer, refined_for",
    [("lattice-e8", "rounding"), ("test-channel", "rounding"), ("rounding", "test-channel")],
)
def test_latents_are_not_refined_for_another_quantizer_than_the_training(quantizer, refined_for):
    message = f"refined for {refined_for}, but 'better' is trained for {quantizer}; expected"
    with pytest.raises(InputError, match=message):
        complete(with_refined(quantizer, {"quantizer": refined_for}), SCHEMA)


def test_latents_of_a_codec_that_is_not_analyzed_have_no_curve():
    config = with_refined("rounding", {}, analyze=False)
    config["codecs"]["better"]["analyze"] = False
    with pytest.raises(InputError, match="'refined' is a curve of 'better', and neither is"):
        complete(config, SCHEMA)
    config["codecs"]["refined"]["analyze"] = True
    assert complete(config, SCHEMA)


def test_networks_of_a_bound_have_the_role_of_their_codec():
    cell = {"mean": "codec", "variance": "codec", "quantizer": "test-channel"}
    codecs = {
        "mini-mean-scale": {"qualities": [1]},
        "joint-upper": {
            "qualities": [1],
            "bound_for": {"codec": "mini-mean-scale", "cell": cell},
        },
        **{
            name: {"use": "refined", "args": args, "qualities": [1]}
            for name, args in {
                "own": {"codec": "mini-mean-scale", "quantizer": "test-channel"},
                "of-joint": {"codec": "joint-upper", "quantizer": "test-channel"},
                "bytes": {"codec": "mini-mean-scale"},
            }.items()
        },
    }
    config = complete({**with_training(), "codecs": codecs, "training": {}}, SCHEMA)
    assert attached_codecs(config) == {
        "joint-upper": attached("joint", is_bound=True, network="joint-upper"),
        "own": attached("refined", is_bound=True, network="mini-mean-scale"),
        "of-joint": attached("joint", is_bound=True, network="joint-upper"),
        "bytes": attached("refined", network="mini-mean-scale"),
    }


def test_images_of_trainings_are_not_measured():
    assert measured_datasets(completed()) == ["sample"]
    config = with_training()
    del config["datasets"]["sample"]
    with pytest.raises(InputError, match="photos are used by training 'net' and training 'small'"):
        complete(config, SCHEMA)


def test_source_of_a_retuned_codec_is_also_that_of_the_codec_before():
    config = completed()
    modules = {"rdpipe.codecs.building", "rdpipe.codecs.compressai.factories"}
    assert set(used_modules(config, {"codecs": ["better"]})) == modules


@pytest.mark.parametrize(
    "changes, message",
    [
        (
            {"start": {"codec": "mini"}},
            "unknown codec in training.net.start 'mini'; known: mini-mean-scale",
        ),
        ({"start": {"codec": "better"}}, "unknown codec in training.net.start 'better'"),
        (
            {"start": {"codec": "mini-mean-scale", "quality": 3}},
            "training.net.start.quality 3 is not a quality of 'mini-mean-scale'; expected one",
        ),
        (
            {"start": {"codec": "mini-mean-scale", "quality": [1]}},
            "codec 'better' is not trained at quality 2; expected one of: 1",
        ),
        (
            {"quantizer": "lattice-e9"},
            "unknown quantizer in training.net 'lattice-e9'; did you mean",
        ),
        (
            {"train": "all", "quantizer": "lattice-e8"},
            "training.net.quantizer 'lattice-e8' has no gradient",
        ),
        (
            {"train": ["prior"], "lambdas": [0.1, 0.2]},
            "training.net.train is prior, which no rung of the ladder stands for; expected",
        ),
        (
            {"train": ["encoder", "decoder"], "lambdas": [0.1, 0.2]},
            "training.net.train is decoder, encoder, which no rung",
        ),
        ({"quantizer": "weighted"}, "training.net.quantizer 'weighted' is fitted on latents"),
        ({"quantizer": "rounding", "level": 2}, "training.net has a level, but rounding has the"),
        ({"start": {"codec": "mini-mean-scale", "quality": [1, 1]}}, "has non-unique elements"),
        (
            {"codec": {"bound_for": {"codec": "mini-mean-scale", "cell": E8_CELL}}},
            "codec 'better': bound_for.cell.quantizer is 'lattice-e8'; expected 'test-channel'",
        ),
        (
            {"codec": {"bound_for": {"codec": "better", "cell": {**E8_CELL}}}},
            "codec 'better': bound_for.codec is 'better'; expected 'mini-mean-scale', whose",
        ),
        (
            {
                "quantizer": "rounding",
                "codec": {"bound_for": {"codec": "mini-mean-scale", "cell": E8_CELL}},
            },
            "codec 'better' is trained for rounding, so its curve is that of its own coding",
        ),
        ({"train": "all"}, "training.net has 0 lambdas; expected one for each of the 2 qualities"),
        ({"lambdas": [0.1]}, "training.net has 1 lambdas; expected one for each of the 2"),
        ({"train": ["weights"]}, "training.net.train.0: 'weights' is not one of"),
        ({"train": "decoder"}, "training.net.train: 'decoder' does not match"),
        ({"N": 8}, "training.net: unknown key 'N'"),
        ({"codec": {"args": {}}}, "codec 'better': args has no key; expected training, the name"),
        ({"codec": {"args": {"training": "small"}}}, "unknown training of codec 'better' 'small'"),
    ],
)
def test_invalid_trainings_are_refused(changes, message):
    with pytest.raises(InputError) as error:
        completed(**changes)
    assert message in str(error.value)
