"""Validation of configs: the schema, the defaults, and the messages for invalid configs."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from rdpipe.config.check import check_device, complete
from rdpipe.config.query import checkpoint_file
from rdpipe.core.errors import InputError

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT / "workflow" / "schema.yaml"
CELL = {"mean": "codec", "variance": "codec", "quantizer": "rounding"}
CODEC = {"datasets": {"sample": {}}, "codecs": {"mini-mean-scale": {"qualities": [1]}}}


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda f: f.stem)
def test_configs_of_the_repository_are_valid(file):
    config = complete(yaml.safe_load(file.read_text()), SCHEMA)
    assert config.keys() == yaml.safe_load(SCHEMA.read_text())["properties"].keys()


def test_every_key_has_a_description():
    schema = yaml.safe_load(SCHEMA.read_text())
    keys = schema["properties"].items()
    assert [key for key, value in keys if "description" not in value and key != "simulate"] == []


def test_defaults_contain_what_the_analysis_needs():
    config = complete(CODEC, SCHEMA)
    assert config["variances"].keys() == {"codec", "channel", "relative-window-5"}
    assert config["means"].keys() == {"zero", "codec"}
    assert config["quantizers"].keys() == {"rounding", "test-channel"}
    assert config["quality_measure"] == "psnr" and config["seed"] == 0


@pytest.mark.parametrize("calibration", [None, "sample-calibration"])
def test_reconstructions_are_plain_without_a_calibration_dataset(calibration):
    datasets = {"sample": {}, "sample-calibration": {}}
    config = complete({**CODEC, "datasets": datasets, "calibration": calibration}, SCHEMA)
    expected = None if calibration is None else "calibrated"
    assert config["limits"]["decodable"].get("reconstruction") == expected


def test_values_are_not_replaced_by_defaults_and_the_input_is_unchanged():
    config = {**CODEC, "datasets": {"sample": {"shards": 2}}}
    completed = complete(config, SCHEMA)["datasets"]["sample"]
    assert completed == {"args": {}, "shards": 2}
    assert config["datasets"] == {"sample": {"shards": 2}}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"datasets": {}}, "datasets"),
        ({"codecs": {"x": {"qualities": [1]}}}, "unknown codec 'x'"),
        ({"codecs": {"mini-mean-scale": {}}}, "'qualities' is a required property"),
        ({"codecs": {"mini-mean-scale": {"qualities": [-1]}}}, "-1 is less than the minimum"),
        ({"codecs": {"a/b": {"use": "trained", "qualities": [1]}}}, "'a/b' does not match"),
        (
            {"codecs": {"mine": {"use": "no_such_module:thing", "qualities": [1]}}},
            "no module 'no_such_module'",
        ),
        ({"datasets": {"sample": {"args": {"root": "x"}}}}, "unexpected keyword argument 'root'"),
        ({"datasets": {"photos": {"use": "folder"}}}, "missing a required argument: 'root'"),
        ({"variances": {"channel": {}}}, "variances must have 'codec'"),
        (
            {"limits": {"x": {"mean": "codec", "variance": "block", "quantizer": "rounding"}}},
            "variance in limits.x 'block'",
        ),
        ({"simulate": {"levels": [0.1]}}, "simulate: unknown key 'levels'"),
        ({"quality_measure": "ssim"}, "quality_measure: 'ssim' is not one of"),
        (
            {"limits": {"a": {**CELL, "reconstruction": "fitted"}}},
            "reconstruction: 'fitted' is not one of",
        ),
        ({"training": {"n": {"dataset": "kodak", "lambdas": [1], "steps": 1}}}, "dataset 'kodak'"),
        ({"matching": "images"}, "matching: 'images' is not one of"),
        (
            {"quantizers": {"rounding": {"args": {"step": 0.25}}, "test-channel": {}}},
            "quantizers.rounding is the codec as it is and takes neither use nor args",
        ),
        ({"means": {"codec": {"use": "zero"}}}, "means.codec is the codec as it is"),
        ({"limits": {}}, "limits"),
        (
            {"baselines": {"avfi": {"qualities": [50]}}},
            "unknown baseline 'avfi'; did you mean 'avif'",
        ),
        (
            {"baselines": {"mini-mean-scale": {"use": "jpeg", "qualities": [5]}}},
            "both have 'mini-mean-scale'",
        ),
        (
            {"baselines": {"jpeg": {"quality": [50]}}},
            "unknown key 'quality'; did you mean 'qualities'",
        ),
        (
            {"baselines": {"jpeg": {"qualities": [50], "args": {"effort": 1}}}},
            "keyword argument 'effort'",
        ),
        (
            {"baselines": {"vtm": {"use": "external", "args": {"encode": "x"}, "qualities": [22]}}},
            "missing a required argument: 'decode'",
        ),
        (
            {"training": {"n": {"dataset": "sample", "lambdas": ["1e-3"], "steps": 1}}},
            "lambdas.0: '1e-3' is not of type 'number'; write 1.0e-3",
        ),
        (
            {"datasets": {False: {"use": "sample"}}},
            "datasets: YAML reads a name as a boolean, False; quote the name",
        ),
        ({"calibration": False}, "False is not of type 'string', 'null'; put a name in quotes"),
        ({"simulate": 5}, "simulate: 5 is not of type 'object'"),
        ({"codecs": {}}, "nothing to do; expected an entry in codecs, baselines or training"),
        ({"anchors": {"jpeg": {"qualities": [5]}}}, "unknown key 'anchors'; it is now baselines"),
    ],
)
def test_invalid_configs_are_refused_with_the_place_and_the_reason(change, message):
    with pytest.raises(InputError, match=message):
        complete({**CODEC, **change}, SCHEMA)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("jpg", "unknown label 'jpg'; did you mean 'jpeg'"),
        ("codec/none/rounding", "unknown variance 'none'"),
        ("codec/rounding", "'codec/rounding' is not a cell"),
    ],
)
def test_label_of_an_unknown_name_is_refused(name, message):
    config = {**CODEC, "baselines": {"jpeg": {"qualities": [5]}}}
    labels = {"jpeg": "JPEG", "mini-mean-scale": "Mine", "codec/channel/test-channel": "Noise"}
    assert complete({**config, "labels": labels}, SCHEMA)["labels"] == labels
    with pytest.raises(InputError, match=message):
        complete({**config, "labels": {name: "x"}}, SCHEMA)
    published = {"sample": {"table": "published.csv"}}
    if "/" not in name:
        complete({**config, "references": published, "labels": {name: "x"}}, SCHEMA)


@pytest.mark.parametrize("label", ["", "_ours", "a\nb", "$x$"])
def test_label_that_figures_cannot_show_is_refused(label):
    with pytest.raises(InputError, match="labels"):
        complete({**CODEC, "labels": {"mini-mean-scale": label}}, SCHEMA)


def with_bound(codec: str, mean: str) -> dict:
    """Return a config with a network that was trained as a bound for a codec."""
    cell = {"mean": mean, "variance": "codec", "quantizer": "test-channel"}
    joint = {"use": "trained", "qualities": [1], "bound_for": {"codec": codec, "cell": cell}}
    return {**CODEC, "codecs": {**CODEC["codecs"], "joint": joint}}


@pytest.mark.parametrize(
    ("codec", "mean", "message"),
    [
        ("mini", "codec", "unknown analyzed codec 'mini'; known: mini-mean-scale"),
        ("joint", "codec", "unknown analyzed codec 'joint'"),
        ("mini-mean-scale", "codex", "mean in codecs.joint.bound_for.cell 'codex'; did you mean"),
    ],
)
def test_bound_for_an_unknown_codec_or_in_an_unknown_cell_is_refused(codec, mean, message):
    with pytest.raises(InputError, match=message):
        complete(with_bound(codec, mean), SCHEMA)


def test_default_curves_are_those_of_the_estimators_in_the_config():
    cell = {"mean": "codec", "variance": "codec", "quantizer": "rounding"}
    few = {**CODEC, "means": {"codec": {}}, "variances": {"codec": {}}}
    assert complete(few, SCHEMA)["simulate"]["curves"] == [
        cell,
        {**cell, "quantizer": "test-channel"},
    ]
    with pytest.raises(InputError, match=r"in simulate\.curves\.0 'channel'; known: codec"):
        complete({**few, "simulate": {"curves": [{**cell, "variance": "channel"}]}}, SCHEMA)


@pytest.mark.parametrize("dataset", ["kodak", "other"])
def test_references_of_a_dataset_that_is_not_measured_are_refused(dataset):
    config = {
        **CODEC,
        "datasets": {"sample": {}, "other": {"use": "sample"}},
        "calibration": "other",
    }
    with pytest.raises(InputError, match=f"unknown measured dataset '{dataset}'; known: sample"):
        complete({**config, "references": {dataset: {"table": "a.csv"}}}, SCHEMA)


@pytest.mark.parametrize(
    ("section", "name", "message"),
    [
        ("variances", "window-4", "size is 4; expected .*1, 3, 5"),
        ("means", "accuracy-150", "150; expected .*0 to 99"),
        ("baselines", "codec", "the name of every codec's own curve"),
        ("codecs", "codec", "the name of every codec's own curve"),
        ("pathvars", "result", "'result' is not one of"),
    ],
)
def test_errors_that_a_job_would_find_are_found_before_any_job(section, name, message):
    entries = {
        "codecs": {"use": "dct", "qualities": [1]},
        "baselines": {"use": "jpeg", "qualities": [30]},
        "pathvars": "x",
        "variances": {},
        "means": {},
    }
    required = {
        "means": {"codec": {}, "zero": {}},
        "variances": {"codec": {}, "window-5": {}, "element": {}},
    }
    values = {**required.get(section, CODEC.get(section, {})), name: entries[section]}
    with pytest.raises(InputError, match=message):
        complete({**CODEC, section: values}, SCHEMA)


def test_repeated_qualities_are_refused():
    with pytest.raises(InputError, match="qualities: .* non-unique"):
        complete({**CODEC, "codecs": {"mini-mean-scale": {"qualities": [1, 2, 1]}}}, SCHEMA)


def test_quality_is_the_only_placeholder_in_the_name_of_a_checkpoint():
    entry = {"use": "trained", "args": {"checkpoint": "w-{quality}.pt"}, "qualities": [3]}
    config = {**CODEC, "codecs": {"c": entry}}
    assert checkpoint_file(complete(config, SCHEMA), "c", 3) == "w-3.pt"
    config["codecs"]["c"]["args"]["checkpoint"] = "w-{quality!r}.pt"
    with pytest.raises(InputError, match="and no other braces"):
        complete(config, SCHEMA)


@pytest.mark.parametrize("name", ["mbt2018-mean", "mbt2018_mean", "elic2022-official"])
@pytest.mark.parametrize("uses", [True, False])
def test_architecture_as_a_codec_is_refused_with_the_entry_to_write(name, uses):
    entry = {"qualities": [1]}
    codecs = {"mine": {"use": name, **entry}} if uses else {name: entry}
    hint = f"use: compressai, args: {{architecture: {name.replace('_', '-')}, checkpoint: "
    with pytest.raises(InputError, match=hint):
        complete({**CODEC, "codecs": codecs}, SCHEMA)


COMPRESSAI = {"use": "compressai", "qualities": [1, 2]}
FIXED = {"architecture": "mbt2018-mean", "checkpoint": "a.pt"}
EXTERNAL = {"use": "external", "qualities": [1, 2]}
DECODE = {"decode": "d {input} {output}"}


@pytest.mark.parametrize(
    "change",
    [
        {"codecs": {"c": {**COMPRESSAI, "args": FIXED}}},
        {
            "codecs": {
                "c": {
                    "use": "rdpipe.codecs.compressai.factories:from_checkpoint",
                    "args": FIXED,
                    "qualities": [1, 2],
                }
            }
        },
        {"baselines": {"c": {**EXTERNAL, "args": {"encode": "e {input} {output}", **DECODE}}}},
    ],
)
def test_same_weights_or_command_for_several_qualities_are_refused(change):
    with pytest.raises(
        InputError, match=r"the qualities 1, 2; expected \{quality\} in it, or a sin"
    ):
        complete({**CODEC, **change}, SCHEMA)


@pytest.mark.parametrize(
    "change",
    [
        {"codecs": {"c": {**COMPRESSAI, "qualities": [2], "args": FIXED}}},
        {"codecs": {"c": {**COMPRESSAI, "args": {**FIXED, "checkpoint": "{quality}.pt"}}}},
        {"codecs": {"c": {**COMPRESSAI, "args": {**FIXED, "architecture": "mbt2018-vbr"}}}},
        {"codecs": {"c": {**COMPRESSAI, "args": {"architecture": "mbt2018", "pretrained": True}}}},
        {"codecs": {"c": {"use": "trained", "args": {"checkpoint": "a"}, "qualities": [1, 2]}}},
        {"codecs": {"c": {"use": "json:loads", "args": {"checkpoint": "a"}, "qualities": [1, 2]}}},
        {
            "baselines": {
                "c": {**EXTERNAL, "args": {"encode": ["e {quality} {input} {output}"], **DECODE}}
            }
        },
    ],
)
def test_several_qualities_of_one_file_or_of_several_are_accepted(change):
    complete({**CODEC, **change}, SCHEMA)


def test_home_is_expanded_in_every_name_of_a_file(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    training = {"dataset": "photos", "lambdas": [1], "steps": 1, "start": "~/a.safetensors"}
    config = {
        **CODEC,
        "datasets": {"sample": {}, "photos": {"use": "sample"}},
        "codecs": {
            "c": {"use": "trained", "args": {"checkpoint": "~/c{quality}"}, "qualities": [2]}
        },
        "references": {"sample": {"table": ["~/a.csv", "b~.csv"]}},
        "training": {"n": training},
    }
    completed = complete(config, SCHEMA)
    assert checkpoint_file(completed, "c", 2) == "/home/me/c2"
    assert completed["training"]["n"]["start"] == "/home/me/a.safetensors"
    assert completed["references"]["sample"]["table"] == ["/home/me/a.csv", "b~.csv"]
    assert config["references"]["sample"]["table"] == ["~/a.csv", "b~.csv"]
    config["references"]["sample"]["table"] = "~/a.csv"
    assert complete(config, SCHEMA)["references"]["sample"]["table"] == "/home/me/a.csv"


@pytest.mark.parametrize(
    "device, count, expected",
    [
        ("cuda", 0, "auto, cpu$"),
        ("cuda:0", 0, "auto, cpu$"),
        ("cuda:2", 2, "auto, cpu, cuda:0, cuda:1$"),
    ],
)
def test_device_that_this_machine_lacks_is_refused(device, count, expected, monkeypatch):
    monkeypatch.setattr("torch.cuda.device_count", lambda: count)
    for available in ("auto", "cpu", *(f"cuda:{index}" for index in range(count))):
        check_device(available)
    with pytest.raises(InputError, match=f"'{device}' is not available on this.*: {expected}"):
        check_device(device)


def test_numbers_that_are_not_finite_are_refused():
    config = yaml.safe_load("{dct: {args: {rho: .nan}, qualities: [1]}}")
    with pytest.raises(InputError, match=r"config.codecs.dct.args.rho: nan is not a finite number"):
        complete({**CODEC, "codecs": config}, SCHEMA)


def test_fitted_estimator_without_calibration_is_refused():
    variances = {"codec": {}, "calibrated": {}, "channel": {}, "window-5": {}, "element": {}}
    with pytest.raises(InputError, match="variance 'calibrated' is fitted; name a dataset"):
        complete({**CODEC, "variances": variances}, SCHEMA)


PLANNING = """
import sys, yaml
from pathlib import Path
from rdpipe.config.check import complete
complete(yaml.safe_load(Path("config/sample.yaml").read_text()), Path("workflow/schema.yaml"))
print(*sys.modules)
"""


def test_validating_a_config_loads_no_heavy_package():
    """Every job of a cluster validates it; a package that is not loaded has no submodules."""
    command = [sys.executable, "-c", PLANNING]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    loaded = {name.split(".")[0] for name in process.stdout.split() if "." in name}
    heavy = {"torch", "compressai", "xarray", "zarr", "pandas", "scipy", "constriction"}
    assert not loaded & heavy


def with_refined(**args) -> dict:
    """Return a config with a refined codec; other keys of the entry are in `entry`."""
    entry = {"use": "refined", "qualities": [1], **args.pop("entry", {})}
    better = {**entry, "args": {"codec": "mini-mean-scale", **args}}
    joint = with_bound("mini-mean-scale", "codec")["codecs"]["joint"]
    return {**CODEC, "codecs": {**CODEC["codecs"], "joint": joint, "better": better}}


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"codec": "mini"}, "unknown codec that is refined 'mini'; known: joint, mini-mean-scale"),
        ({"codec": "better"}, "unknown codec that is refined 'better'"),
        ({"codec": "joint"}, "refined for rounding, which is no bound; expected quantizer"),
        ({"stride": 5}, "codec 'better': .*unknown field `stride`"),
        ({"codec": "joint", "quantizer": "lattice-e8"}, "but its bound_for.cell is codec/codec/te"),
        ({"steps": -1}, r"codec 'better': .*\$.steps"),
        ({"quantizer": "trellis"}, "codec 'better': .*trellis"),
        ({"lambdas": [0]}, "codec 'better': .*lambdas"),
        ({"lambdas": [1, 2]}, "codec 'better' has 2 lambdas; expected one for each of the 1"),
    ],
)
def test_invalid_refinement_is_refused(args, message):
    with pytest.raises(InputError, match=message):
        complete(with_refined(**args), SCHEMA)


def test_only_refined_codecs_can_be_left_out_of_the_analysis():
    codecs = {"mini-mean-scale": {"qualities": [1], "analyze": False}}
    with pytest.raises(InputError, match="mini-mean-scale.analyze is false; expected `use: refi"):
        complete({**CODEC, "codecs": codecs}, SCHEMA)


@pytest.mark.parametrize("entry", [{"use": "rounding"}, {"args": {"order": "channel"}}])
def test_refinement_for_another_lattice_is_refused(entry):
    config = with_refined(codec="mini-mean-scale", quantizer="lattice-e8")
    quantizers = {"rounding": {}, "test-channel": {}, "lattice-e8": entry}
    with pytest.raises(InputError, match="quantizers.lattice-e8 without `use` and without `orde"):
        complete({**config, "quantizers": quantizers}, SCHEMA)


@pytest.mark.parametrize("base", ["mini-mean-scale", "joint"])
def test_refinement_for_the_test_channel_is_a_bound_for_the_same_codec(base):
    config = complete(with_refined(codec=base, quantizer="test-channel"), SCHEMA)
    bound = config["codecs"]["better"]["bound_for"]
    assert bound["codec"] == "mini-mean-scale" and bound["cell"]["quantizer"] == "test-channel"
