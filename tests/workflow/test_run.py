"""Products of the small project."""

import base64
import gzip
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from compressai_tools import parse_json_file
from small_project import FIRST_RUN
from timeless import content

import rdpipe
from rdpipe.codecs.compressai import mini_mean_scale
from rdpipe.config import query
from rdpipe.core.errors import InputError
from rdpipe.core.process import USAGE_PATTERN
from rdpipe.io import store
from rdpipe.report.figures import FIGURES
from rdpipe.stages.inputs import read_fits


def test_terms_sum_to_the_total(project):
    """Per quality in bit/pixel, and over the curve in ln(rate); both at equal PSNR."""
    table = pd.read_csv(project.folder / "results" / "decomposition.csv")
    assert set(table["matched_at"]) == {"psnr"}
    over_the_curve = table["quality"].isna()
    for column, rows, count in (
        ("bpp", table[~over_the_curve], 6),
        ("log_rate", table[over_the_curve], 4),
    ):
        index = ["codec", "quality", "limit", "order"]
        wide = rows.assign(quality=rows["quality"].fillna(0)).pivot(
            index=index, columns="term", values=column
        )
        assert len(wide) == count and wide["total"].notna().all()
        assert np.abs(wide.drop(columns="total").sum(axis=1) - wide["total"]).max() < 1e-9
        assert wide[["variance", "context"]].isna().all(axis=None)  # not measured


def test_rungs_of_the_ladder_add_up(project):
    ladder = pd.read_csv(project.folder / "results" / "ladder.csv")
    rungs = ladder[ladder["codec"] == "mini-mean-scale"]
    for _, rows in rungs[rungs["quality"].notna()].groupby("quality"):
        known = rows[rows["bpp"].notna()]
        saved = known["bpp"].iloc[0] - known["bpp"].iloc[-1]
        assert known["saved"].sum() == pytest.approx(saved, abs=1e-9)
    curve = rungs[rungs["quality"].isna()]
    assert curve["log_rate"].notna().all()
    total = (1 + curve["change"].iloc[1:] / 100).prod()
    assert total == pytest.approx(1 + curve["total"].iloc[-1] / 100, abs=1e-9)


def test_rungs_by_hand_are_those_of_the_ladder(project):
    script = Path(__file__).parents[2] / "examples" / "ladder_by_hand.py"
    results = project.folder / "results"
    ladder = pd.read_csv(results / "ladder.csv").query("codec == 'mini-mean-scale'")
    cells = {name for name in ladder["name"] if "/" in name}
    assert "codec/codec/rounding" in cells
    for cell in cells:
        command = [sys.executable, script, results, "tiny", "mini-mean-scale", cell]
        process = subprocess.run(command, capture_output=True, text=True)
        assert process.returncode == 0, process.stderr
        numbers = re.sub(r"[][]", " ", process.stdout).split()
        by_hand, table = np.array(numbers, float).reshape(3, 2).T
        np.testing.assert_allclose(by_hand, table, rtol=1e-7)


def test_total_is_the_difference_of_real_bytes_and_the_limit(project):
    run = project.folder / "results/tiny/mini-mean-scale/q1"
    table, cells = (store.read(run / f"{name}/0.zarr.zip") for name in ("latents", "simulation"))
    cell = cells.sel(curve="codec/codec/test-channel")
    above = (8 * table["bytes"] - table["side_bits"] - cell["bits"]) / (96 * 130)
    shown = pd.read_csv(project.folder / "results/decomposition.csv")
    shown = shown.query("codec == 'mini-mean-scale' and quality == 1 and term == 'total'")
    assert shown["bpp"].to_numpy() == pytest.approx(np.full(2, above.mean().item()), rel=1e-9)


def test_codecs_cell_through_the_decoder_equals_the_codec(project):
    points = pd.read_csv(project.folder / "results/bounds.csv")
    points = points[points["codec"] == "mini-mean-scale"].set_index(["curve", "quality"])
    codec, cell = points.loc["codec"], points.loc["codec/codec/rounding"]
    assert np.abs(codec["psnr"] - cell["psnr"]).max() < 0.01
    assert set(codec["kind"]) == {"achieved"} and set(cell["kind"]) == {"achievable"}
    assert set(points.loc["codec/codec/test-channel"]["kind"]) == {"upper bound on R(D)"}


@pytest.mark.parametrize("cell", ["codec/codec/rounding", "codec/codec/test-channel"])
def test_rates_include_the_side_information_that_they_need(project, cell):
    """A point is the rate of the simulation plus that of the hyper-latents, in bit/pixel."""
    run = project.folder / "results/tiny/mini-mean-scale/q2"
    table, sweep = store.read(run / "latents/0.zarr.zip"), store.read(run / "simulation/0.zarr.zip")
    rates = (sweep["bits"].sel(curve=cell) + table["side_bits"]).mean("image") / (96 * 130)
    points = pd.read_csv(project.folder / "results/bounds.csv")
    point = points.query("codec == 'mini-mean-scale' and curve == @cell and quality == 2").iloc[0]
    assert (table["side_bits"] > 100).all()
    assert point["bpp"] == pytest.approx(rates.item(), rel=1e-9)
    psnr = 10 * np.log10(255**2 / sweep["mse"].sel(curve=cell))
    np.testing.assert_allclose(psnr, table["psnr"], atol=0.05)  # of every image


def test_network_trained_as_a_bound_is_drawn_with_the_codec(project):
    points = pd.read_csv(project.folder / "results/bounds.csv")
    joint = points.query("curve == 'joint'")
    assert joint["codec"].tolist() == ["mini-mean-scale"] * 2
    assert joint["quality"].tolist() == [1, 3]
    assert set(joint["kind"]) == {"upper bound on R(D)"}
    for _, point in joint.iterrows():
        run = project.folder / f"results/tiny/joint/q{point['quality']}"
        sweep, table = (store.read(run / f"{n}/0.zarr.zip") for n in ("simulation", "latents"))
        np.testing.assert_allclose(sweep["level"], 1 / 12)
        assert sweep["level_kind"].item() == "theta"
        bits = sweep["bits"].squeeze("curve") + table["side_bits"]
        assert point["bpp"] == pytest.approx((bits / table["pixels"]).mean().item())
    products = {path.name for path in (project.folder / "results/tiny/joint/q1").iterdir()}
    assert products == {"images", "latents", "simulation"}
    assert not (project.folder / "results/figures/tiny/joint").exists()


def test_published_curves_are_unchanged(project):
    points = pd.read_csv(project.folder / "results/bounds.csv")
    assert "others" not in set(points["curve"])
    theirs = points.query("curve == 'theirs'")
    assert theirs["kind"].unique().tolist() == ["reference"] and theirs["codec"].isna().all()
    assert theirs[["bpp", "psnr"]].to_numpy() == pytest.approx(np.array([[0.01, 20], [0.5, 40]]))
    assert theirs[["bpp_low", "bpp_high", "psnr_low", "psnr_high"]].isna().all(axis=None)
    assert set(theirs["source"]) == {"upper bound on R(D), A & B 2022"}
    rates = pd.read_csv(project.folder / "results/bd_rates.csv").query("curve == 'theirs'")
    assert set(rates["codec"]) == {"mini-mean-scale", "mine"} and rates["bd_rate_low"].isna().all()
    page = (project.folder / "results/report.html").read_text()
    assert "theirs (upper bound on R(D), A &amp; B 2022)" in page
    assert "VTM (published codec, VTM 9.1, theirs.json)" in page


def test_plot_tool_of_compressai_reads_every_curve(project):
    folder = project.folder / "results/compressai/tiny"
    drawn = {file.stem: parse_json_file(file, "psnr") for file in folder.iterdir()}
    cells = ("codec-codec-rounding", "codec-codec-test-channel")
    names = {f"{codec}_{cell}" for codec in ("mini-mean-scale", "mine") for cell in cells}
    assert drawn.keys() == names | {"mini-mean-scale", "mine", "mini-mean-scale_joint", "jpeg"}
    points = pd.read_csv(project.folder / "results/bounds.csv").sort_values("bpp")
    jpeg = points.query("curve == 'jpeg'")
    assert drawn["jpeg"]["xs"] == pytest.approx(jpeg["bpp"].tolist()) and len(jpeg) == 3
    joint = points.query("curve == 'joint'")
    assert drawn["mini-mean-scale_joint"]["name"] == "mini-mean-scale joint"
    assert drawn["mini-mean-scale_joint"]["ys"] == pytest.approx(joint["psnr"].tolist())


def test_length_of_real_bytes_matches_the_array(project):
    codes = pd.read_csv(project.folder / "results/codes.csv")
    cells = {f"codec/{variance}/rounding" for variance in ("codec", "calibrated")}
    assert set(codes["cell"]) == cells and len(codes) == 3 * len(cells)
    pixels = 96 * 130
    allowed = 0.002 * codes["predicted_bpp"] + 8 * 64 / pixels
    assert (abs(codes["real_bpp"] - codes["predicted_bpp"]) < allowed).all()
    saving = codes["real_saving"] - codes["predicted_saving"]
    assert (abs(saving) < 2 * allowed + 8 * 64 / pixels).all()


def test_estimator_is_not_evaluated_on_images_that_it_was_fitted_on(project):
    latents = project.folder / "results/other/mini-mean-scale/q1/latents/0.zarr.zip"
    fit = project.folder / "results/fits/mini-mean-scale/q1/variance/calibrated.zarr.zip"
    with pytest.raises(InputError, match="was fitted on images that it is evaluated on .three.png"):
        read_fits([fit], store.read(latents))
    assert read_fits([fit], store.read(project.folder / "results/tiny/mine/q1/latents/0.zarr.zip"))


def test_report_is_one_file_with_every_image_and_figure(project):
    page = (project.folder / "results/report.html").read_text()
    assert "one.png" in page and "two &lt;b&gt;{q}&amp;.png" in page
    packed = re.findall(r'id="pictures-\d+"[^>]*>([^<]+)<', page)
    pictures = b"".join(gzip.decompress(base64.b64decode(text)) for text in packed)
    assert pictures.count(b"data:image/webp;base64,") == 2 * 2 + 2 * 3  # originals, and qualities
    assert not any(outside in page for outside in ('src="http', 'rel="stylesheet"'))
    figures = project.folder / "results/figures/tiny/mine"
    files = {(f.stem, f.suffix[1:]) for f in figures.iterdir()}
    assert files == {(name, suffix) for name in FIGURES for suffix in ("svg", "pdf", "png", "csv")}


@pytest.mark.parametrize("component", query.COMPONENTS)
def test_each_file_of_the_gaps_has_its_component(project, component):
    file = project.folder / f"results/tiny/mini-mean-scale/q1/gaps/{component}/0.zarr.zip"
    assert store.read(file)["component"].item() == component


def test_maps_add_up_to_the_array(project):
    """Sums over positions and channels equal the bits of the array, without those of levels."""
    run = project.folder / "results/tiny/mini-mean-scale/q1"
    array, maps = store.read(run / "gaps/joint/0.zarr.zip"), store.read(run / "maps/0.zarr.zip")
    assert maps["cell"].values.tolist() == ["codec/codec/rounding", "codec/codec/test-channel"]
    for quantizer, level_bits in (("rounding", 0), ("test-channel", 32)):
        bits = array["bits"].sel(mean="codec", variance="codec", quantizer=quantizer) - level_bits
        name = f"codec/codec/{quantizer}"
        by_channel = maps["bits"].sel(cell=name).sum("channel").values
        assert by_channel == pytest.approx(bits.values, rel=1e-9)
        groups = [store.read(run / "maps/0.zarr.zip", str(i))["bits"] for i in range(2)]
        index = maps["cell"].values.tolist().index(name)
        by_position = [group[index].values.sum() for group in groups]
        assert by_position == pytest.approx(bits.values, rel=1e-5)


def test_latent_matched_change_is_between_the_shares_of_the_qualities(project):
    """The change over the curve, if the quantization gap is closed at equal latent distortion."""
    changes = store.read(
        project.folder / "results/bounds.zarr.zip", "latent_matched"
    ).to_dataframe()
    lever = changes.query("codec == 'mini-mean-scale' and term == 'quantization'").iloc[0]
    terms = pd.read_csv(project.folder / "results/latent_matched.csv")
    assert set(terms["matched_at"]) == {"latent-mse"}
    terms = terms.query(
        "codec == 'mini-mean-scale' and term == 'quantization' and order == 'paper'"
    )
    of_codec = pd.read_csv(project.folder / "results/bounds.csv").query(
        "codec == 'mini-mean-scale' and curve == 'codec'"
    )
    share = -100 * terms["bpp"].to_numpy() / of_codec["bpp"].to_numpy()
    change = lever["latent_matched_change"]
    low, high = lever["latent_matched_change_low"], lever["latent_matched_change_high"]
    assert min(share) - 1e-6 <= change <= max(share) + 1e-6
    assert low <= change <= high


def test_page_shows_its_command_and_the_times_of_the_stages(project):
    page = (project.folder / "results/report.html").read_text()
    assert "snakemake --configfile tiny.yaml --cores 2 results/figures/tiny/mine/water.pdf" in page
    assert re.search(r"map_latents</th><td>3</td>", page)
    table = re.search("<!--times-->.*<!--/times-->", page, re.S)[0]
    assert all(int(memory) > 20 for memory in re.findall(r"<td>(\d+)</td></tr>", table))


def test_every_job_writes_what_it_has_used(project):
    logs = [log for log in (project.folder / "logs").rglob("*.log") if log.stat().st_size]
    assert len(logs) > 20
    for log in logs:
        assert re.search(USAGE_PATTERN, log.read_text(), re.M), log


def test_every_job_requests_more_than_its_peak_memory(project):
    plan = project.snakemake("--dry-run", "--forceall").stdout
    matches = re.findall(
        r"^    log: (\S+)$(?:\n    .*)*?\n    resources: .*mem_mib=(\d+)", plan, re.M
    )
    assert len(matches) > 20
    for log, requested in matches:
        text = (project.folder / log).read_text()
        peak = int(re.search(USAGE_PATTERN, text, re.M)[2])
        assert peak < int(requested), log


def test_run_ends_with_the_answer_and_the_path_of_the_report(project):
    output = (project.folder / FIRST_RUN).read_text()
    assert "\nmini-mean-scale on tiny\n" in output
    assert "\nagainst the real bytes " in output
    assert re.search(r"^report: /.*/project-\w+/results/report\.html \(written ", output, re.M)


def test_rdpipe_run_ends_with_the_answer_and_the_path_of_the_report(project):
    page = project.folder / "results/report.html"
    page.unlink()
    command = [sys.executable, "-m", "rdpipe", "run", "tiny.yaml", "--cores", "2"]
    process = subprocess.run(
        command,
        cwd=project.folder,
        env=project.environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    lines = process.stdout.splitlines()
    assert lines[1] == "1 job" and re.fullmatch(r"1/1 make_report \d+ s", lines[2]), lines
    assert "mini-mean-scale on tiny" in lines
    assert lines[-1].startswith(f"report: {page} (written ")


def test_target_that_makes_no_report_prints_none(project):
    process = project.snakemake("--force", "results/compressai/tiny/mine.json")
    assert process.returncode == 0, process.stdout
    assert "rule export_curves" in process.stdout and "report.html" not in process.stdout


def test_stores_contain_specification_and_versions(project):
    attributes = store.read(project.folder / "results/tiny/mine/q1/simulation/0.zarr.zip").attrs
    assert '"seed": 0' in attributes["spec"] and attributes["version_torch"].startswith("2.13.0")


def test_same_run_gives_the_same_bytes(project):
    names = ["tiny/mine/q1/simulation/0.zarr.zip", "bounds.zarr.zip", "report.html",
             "figures/tiny/mine/bounds.png", "figures/tiny/mine/water.pdf",
             "tiny/mine/q1/maps/0.zarr.zip", "training/net.safetensors"]  # fmt: skip
    files = [project.folder / "results" / name for name in names]
    before = [content(file) for file in files]
    process = project.snakemake("--force", *(f"results/{name}" for name in names))
    assert process.returncode == 0, process.stdout
    assert [
        name for name, file, old in zip(names, files, before, strict=True) if content(file) != old
    ] == []


def test_lint_is_clean(project):
    process = project.snakemake("--lint")
    assert process.returncode == 0, process.stdout
    assert "your workflow is in a good condition" in process.stdout


def test_unreadable_image_stops_the_run(project, tmp_path):
    bad = project.folder / "images" / "zz bad.png"
    bad.write_bytes(b"")
    try:
        process = project.snakemake("results/tiny/manifest.json", "--show-failed-logs")
        assert process.returncode != 0
        assert "zz bad.png': the file is empty" in process.stdout
    finally:
        bad.unlink()
        assert project.snakemake("results/tiny/manifest.json").returncode == 0


def test_decompose_gives_the_numbers_of_the_workflow_to_the_last_bit(project):
    terms = rdpipe.decompose(
        mini_mean_scale(1, "cpu"),
        project.folder / "images",
        limits={"decodable": {"mean": "codec", "variance": "codec", "quantizer": "test-channel"}},
    )
    bpp = (terms["bits"] / terms["pixels"]).sel(limit="decodable").to_dataframe("bpp")["bpp"]
    stored = store.read(project.folder / "results/bounds.zarr.zip", "image_terms").to_dataframe()
    stored = stored.query("codec == 'mini-mean-scale' and quality == 1 and term != 'total'")
    stored = stored.set_index(["order", "term", "image"])["bpp"]
    assert len(stored) == 24
    np.testing.assert_array_equal(bpp.reorder_levels(stored.index.names)[stored.index], stored)


@pytest.mark.parametrize("threads", [None, "1", "2", "4"])
def test_bitstreams_decode_by_hand_whatever_the_environment_exports(project, tmp_path, threads):
    """The command that the rule prints decodes what the workflow wrote, to the same bytes."""
    command = project.commands()["read_bitstreams"].partition(" > ")[0]
    out = shlex.split(command)[-1]
    command = command.replace(f"--out {out}", f"--out {shlex.quote(str(tmp_path / 'decoded.zip'))}")
    environment = {k: v for k, v in project.environment.items() if not k.endswith("_NUM_THREADS")}
    if threads:
        environment["OMP_NUM_THREADS"] = threads
    process = subprocess.run(
        [sys.executable, *shlex.split(command)[1:]],
        cwd=project.folder,
        env=environment,
        text=True,
        capture_output=True,
    )
    assert process.returncode == 0, process.stderr
    assert (tmp_path / "decoded.zip").read_bytes() == (project.folder / out).read_bytes()
