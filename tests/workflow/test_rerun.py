"""Exact lists of the jobs that run again after a change."""

import copy
import os

import pytest
from small_project import CONFIG

RUNS = ("mini-mean-scale/q1", "mini-mean-scale/q2", "mine/q1")
AFTERWARDS = {"bounds.zarr.zip", "report.html", "compressai/tiny/mine.json"}


def gaps(runs):
    """Return the first output of the gaps of each run."""
    return {f"tiny/{run}/gaps/variance/0.zarr.zip" for run in runs}


def bitstreams(runs):
    return {f"tiny/{run}/{name}/0.zarr.zip" for run in runs for name in ("bitstreams", "decoded")}


def test_second_run_has_nothing_to_do(project):
    process = project.snakemake()
    assert process.returncode == 0 and "Nothing to be done" in process.stdout


def test_changed_estimator_reruns_only_what_uses_it(project):
    config = copy.deepcopy(CONFIG)
    config["variances"]["window-3"] = {"use": "window", "args": {"size": 5}}
    project.configure(config)
    maps = {f"tiny/{run}/maps/0.zarr.zip" for run in RUNS}  # they have the levels of the gaps
    assert project.jobs() == gaps(RUNS) | maps | bitstreams(RUNS) | AFTERWARDS


def test_added_fitted_estimator_is_fitted_and_reruns_what_uses_it(project):
    config = copy.deepcopy(CONFIG)
    config["variances"]["also-calibrated"] = {"use": "calibrated"}
    project.configure(config)
    maps = {f"tiny/{run}/maps/0.zarr.zip" for run in RUNS}
    fits = {f"fits/{run}/variance/also-calibrated.zarr.zip" for run in RUNS}
    assert project.jobs() == fits | gaps(RUNS) | maps | bitstreams(RUNS) | AFTERWARDS


def test_gain_of_the_decoder_is_measured_on_calibration_images_if_needed(project):
    config = copy.deepcopy(CONFIG)
    config["quantizers"] = {"rounding": {}, "test-channel": {}, "weighted-test-channel": {}}
    project.configure(config)
    jobs = project.jobs()
    extractions = {job for job in jobs if "/images/" in job}
    assert extractions == {f"other/{run}/images/0.zarr.zip" for run in RUNS}
    assert {f"fits/{run}/quantizer/weighted-test-channel.zarr.zip" for run in RUNS} <= jobs


def test_added_quality_runs_only_that_quality(project):
    config = copy.deepcopy(CONFIG)
    config["codecs"]["mini-mean-scale"]["qualities"].append(3)
    project.configure(config)
    run = "mini-mean-scale/q3"
    new = {f"tiny/{run}/{name}/0.zarr.zip" for name in ("images", "simulation", "maps")}
    new |= gaps([run]) | bitstreams([run])
    fitted = {f"other/{run}/images/0.zarr.zip", f"fits/{run}/variance/calibrated.zarr.zip"}
    assert project.jobs() == new | fitted | AFTERWARDS


def test_changed_published_curves_rerun_only_the_bounds(project):
    config = copy.deepcopy(CONFIG)
    config["references"]["tiny"]["curves"] = ["theirs"]
    project.configure(config)
    assert project.jobs() == AFTERWARDS


def test_labels_make_only_the_report_again(project):
    config = copy.deepcopy(CONFIG)
    config["labels"] = {"mini-mean-scale": "Mean-scale", "codec/codec/rounding": "Rounding"}
    project.configure(config)
    assert project.jobs() == {"report.html"}


def test_changed_image_reruns_everything_on_its_dataset(project):
    image = project.folder / "images" / "one.png"
    original = image.read_bytes(), image.stat()
    try:
        image.write_bytes(original[0] + b"changed")
        jobs = project.jobs()
        assert "tiny/manifest.json" in jobs and "other/manifest.json" not in jobs
    finally:
        image.write_bytes(original[0])
        os.utime(image, ns=(original[1].st_atime_ns, original[1].st_mtime_ns))


def test_touched_image_reruns_nothing(project):
    (project.folder / "images" / "one.png").touch()
    assert project.jobs() == set()


def test_folder_that_is_written_absolutely_reruns_nothing(project):
    config = copy.deepcopy(CONFIG)
    config["datasets"]["tiny"]["args"]["root"] = str(project.folder / "images")
    project.configure(config)
    assert project.jobs() == set()


def test_renamed_config_reruns_nothing(project):
    file = project.folder / "tiny.yaml"
    renamed = file.rename(project.folder / "renamed.yaml")
    try:
        assert project.jobs("--configfile", "renamed.yaml") == set()
    finally:
        renamed.rename(file)


def test_edited_stage_reruns_and_touched_stage_does_not(project):
    stage = project.folder / "rdpipe" / "stages" / "run_baseline.py"
    original = stage.read_text()
    stage.touch()
    assert project.jobs() == set()
    try:
        stage.write_text(original + "\n# edited\n")
        assert project.jobs() == set()
        stage.write_text(original + "\nEDITED = True\n")
        baselines = {f"tiny/baselines/jpeg/q{q}/0.zarr.zip" for q in (5, 40, 95)}
        assert project.jobs() == baselines | AFTERWARDS
    finally:
        stage.write_text(original)


def test_edited_estimator_reruns_what_imports_it(project):
    module = project.folder / "rdpipe" / "estimators" / "variances.py"
    original = module.read_text()
    try:
        module.write_text(original + "\nEDITED = True\n")
        names = ("simulation", "maps", "bitstreams", "decoded", "gaps/variance")
        products = {f"{name}/0.zarr.zip" for name in names}
        fits = {f"fits/{run}/variance/calibrated.zarr.zip" for run in RUNS}
        runs = {f"tiny/{run}/{product}" for run in RUNS for product in products}
        joint = {f"tiny/joint/q{q}/simulation/0.zarr.zip" for q in (1, 3)}
        assert project.jobs() == fits | runs | joint | AFTERWARDS
    finally:
        module.write_text(original)


def edited(project, changes):
    """Return the jobs after changes of some files, which are undone."""
    files = {project.folder / name: change for name, change in changes.items()}
    before = {file: file.read_bytes() for file in files}
    try:
        for file, change in files.items():
            file.write_bytes(before[file] + change)
        return project.jobs()
    finally:
        for file, content in before.items():
            file.write_bytes(content)


def test_text_and_unused_code_and_weights_rerun_nothing(project):
    changes = {
        "rdpipe/core/errors.py": b"# a comment\n",
        "rdpipe/__init__.py": b'__version__ = "99"\n',
        "rdpipe/datasets/sample.py": b"EDITED = True\n",
        "rdpipe/codecs/weights/mini-context.safetensors": b"0",
    }
    assert edited(project, changes) == set()


def test_changed_weights_rerun_what_decodes_with_them(project):
    jobs = edited(project, {"rdpipe/codecs/weights/mini-mean-scale.safetensors": b"0"})
    assert {job.split("/")[1] for job in jobs - AFTERWARDS} == {"mini-mean-scale"}
    assert {"tiny/mini-mean-scale/q1/images/0.zarr.zip"} <= jobs


def test_added_codec_reruns_nothing_of_the_others(project):
    config = copy.deepcopy(CONFIG)
    config["codecs"]["mini-scale"] = {"qualities": [1]}
    project.configure(config)
    jobs = project.jobs() - AFTERWARDS
    assert {job.split("/")[1] for job in jobs if not job.startswith("compressai")} == {"mini-scale"}


def test_added_dataset_reruns_nothing_of_the_others(project):
    config = copy.deepcopy(CONFIG)
    config["datasets"]["field"] = {
        "use": "gaussian-field",
        "args": {"count": 1, "size": 64, "rho": 0.9, "sigma": 40},
    }
    project.configure(config)
    jobs = project.jobs() - AFTERWARDS
    assert {job.split("/")[0] for job in jobs if not job.startswith("compressai")} == {"field"}


@pytest.mark.parametrize("component", ["variance", "quantization", "context", "joint"])
def test_one_component_of_one_quality_can_be_requested_alone(project, component):
    target = f"results/tiny/mine/q1/gaps/{component}/0.zarr.zip"
    assert project.jobs("--force", target) == gaps(["mine/q1"])


@pytest.mark.parametrize(
    ("section", "entries", "message"),
    [
        (
            "codecs",
            {"mini-mean-scal": {"qualities": [1]}},
            "did you mean 'mini-mean-scale' or 'mini-scale'?",
        ),
        ("datasets", {"sampel": {}}, "did you mean 'sample'?"),
        (
            "variances",
            {"codec": {}, "windw-3": {}},
            "unknown variance 'windw-3'; did you mean 'window' or",
        ),
        ("quantizers", {"rounding": {}, "test-chanel": {}}, "did you mean 'test-channel' or"),
        ("means", {"codec": {}, "zeros": {}}, "did you mean 'zero'?"),
        (
            "baselines",
            {"jpg": {"qualities": [5]}},
            "unknown baseline 'jpg'; did you mean 'jpeg' or",
        ),
        ("quantizer", {}, "unknown key 'quantizer'; did you mean 'quantizers'"),
        ("simulate", {"curve": []}, "simulate: unknown key 'curve'; did you mean 'curves'?"),
        ("device", "gpu", "device: 'gpu' does not match"),
    ],
)
def test_unknown_names_are_refused_before_any_job(project, section, entries, message):
    project.configure({**CONFIG, section: entries})
    process = project.snakemake("--dry-run")
    assert process.returncode != 0
    assert message in process.stdout
    assert "Traceback" not in process.stdout and "Job stats" not in process.stdout
