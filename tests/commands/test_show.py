"""The answer in the terminal."""

import numpy as np
import pytest
from small_ladder import with_refined_latents, without_bitstream
from small_page import make_tables, without_intervals
from small_results import write_results

from rdpipe.__main__ import main
from rdpipe.commands import check, show
from rdpipe.report.terminal import answer_lines
from rdpipe.stages import check_codec


def lines_of(tables):
    points = tables["points"][tables["points"]["role"] == "codec"]
    return list(answer_lines(points, tables["ladder"], tables["available"]))


def test_rungs_that_change_nothing_and_genies_are_left_out(tables):
    lines = lines_of(tables)
    assert lines[0].split() == ["q1", "q2", "over", "the", "curve"]
    assert lines[1].split() == ["PSNR,", "dB", "29.00", "30.00"]
    assert [line.strip().split("  ")[0] for line in lines[3:-4]] == [
        "entropy coder",
        "prior",
        "quantization",
        "jointly trained transforms",
        "best rung, bpp",
        "against the real bytes",
    ]
    assert lines[5].split()[1:6] == ["-11.7", "%", "-11.7", "%", "-11.7"]
    assert lines[5].endswith("bound") and "(-12.2 to -11.2 %)" in lines[5]
    assert lines[3].endswith("today, not timed") and lines[4].endswith("today, 0.75 s/MP")
    assert lines[8].split()[4:9] == ["-20.0", "%", "-20.0", "%", "-20.0"]
    assert "not measured: variance, context" in lines
    assert "genie" not in " ".join(lines)


def test_unknown_values_are_question_marks(tables):
    ladder = without_intervals(tables)["ladder"]
    curve = ["change", "total"]
    lines = lines_of(tables | {"ladder": ladder.assign(**dict.fromkeys(curve, np.nan))})
    assert lines[5].split() == ["quantization", "-11.7", "%", "-11.7", "%", "?", "bound"]
    assert not any("nan" in line for line in lines)


def test_command_reads_the_store_of_a_run(tables, results, capsys):
    show.run(results)
    shown = capsys.readouterr().out
    assert shown.startswith("c on d\n") and "Warning" not in shown
    assert shown.splitlines()[-1].startswith(f"report: {results / 'report.html'} (written ")
    assert "\n".join(lines_of(tables)) in shown


def test_codec_has_the_label_of_the_config(labeled, capsys):
    show.run(labeled)
    assert capsys.readouterr().out.startswith("Our codec on d\n")


def test_damaged_labels_are_one_line(labeled, capsys):
    (labeled / "labels.json").write_text('{"c": "Our')
    assert main(["show", str(labeled)]) == 2
    error = capsys.readouterr().err
    assert "labels.json: " in error and error.count("\n") == 1


@pytest.mark.parametrize("name, message", [("nowhere", "is not a folder"), (".", "has no bounds")])
def test_mistyped_path_is_one_line(name, message, tmp_path, capsys):
    assert main(["show", str(tmp_path / name)]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_image_that_makes_most_of_a_mean_is_flagged(tables, tmp_path, capsys):
    points = tables["image_points"]
    points.loc[points["image"] == "one", "bpp"] *= 100
    show.run(write_results(tables, tmp_path / "other"))
    assert "Warning: one alone makes up to 99 % of the mean bit/pixel (" in capsys.readouterr().out


def test_measure_of_the_run_has_a_row(tables):
    ladder = tables["ladder"].assign(matched_at="ms-ssim")
    lines = lines_of(tables | {"ladder": ladder})
    assert lines[2].split() == ["MS-SSIM,", "dB", "12.00", "13.00"]
    assert "at equal MS-SSIM" in " ".join(lines)


def test_check_is_the_check_of_the_stage():
    assert check.run is check_codec.run


def test_tables_of_one_quality_have_one_column():
    lines = lines_of(make_tables(qualities=(3,)))
    assert lines[0].split()[:2] == ["q3", "over"]


def test_footnote_says_that_the_latents_are_the_codecs_own(tables):
    assert not any("*" in line for line in lines_of(tables))
    refined = with_refined_latents(tables["ladder"], "prior")
    lines = lines_of(tables | {"ladder": refined})
    assert lines[5].split()[:2] == ["quantization", "*"]
    assert lines[-2] == "* without the refined latents"


def test_codec_without_a_bitstream_has_a_code_length(tables):
    lines = lines_of(tables | {"ladder": without_bitstream(tables["ladder"])})
    assert lines[2].startswith("code length, bpp")
    assert any(line.startswith("against the code length") for line in lines)
    assert "real bytes" not in " ".join(lines[:-1])
