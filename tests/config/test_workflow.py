"""The command of ``rdpipe run``."""

import subprocess
import sys
from pathlib import Path

import pytest

from rdpipe.__main__ import main
from rdpipe.config.workflow import snakemake_command, workflow_folder
from rdpipe.core.errors import InputError

ROOT = Path(__file__).parents[2]


def test_workflow_of_a_clone_is_beside_the_package():
    assert workflow_folder() == ROOT


@pytest.mark.parametrize(
    ("arguments", "configs", "others"),
    [
        ([], [], []),
        (["mine.yaml"], ["--configfile", "mine.yaml"], []),
        (
            ["mine.yaml", "a.csv", "--cores", "2"],
            ["--configfile", "mine.yaml"],
            ["a.csv", "--cores", "2"],
        ),
        (["--cores", "2"], [], ["--cores", "2"]),
        (["results/bounds.csv", "-n"], [], ["results/bounds.csv", "-n"]),
    ],
    ids=str,
)
def test_first_file_is_the_config_and_others_are_passed_on(
    tmp_path, monkeypatch, arguments, configs, others
):
    monkeypatch.chdir(tmp_path)
    Path("mine.yaml").touch()
    command = snakemake_command(arguments)
    assert command[1:6] == ["-P", "-m", "snakemake", "--logger", "rdpipe"]
    assert command[6 : 6 + len(configs)] == configs
    assert command[6 + len(configs)] == "--snakefile"
    assert command[len(command) - len(others) :] == others


def test_config_that_does_not_exist_is_named_in_one_line(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["run", "mien.yaml", "--cores", "2"]) == 2
    expected = "rdpipe run: there is no file 'mien.yaml'; expected a config such as mine.yaml\n"
    assert capsys.readouterr().err == expected


def test_missing_snakemake_is_named(monkeypatch):
    monkeypatch.setattr("rdpipe.config.workflow.find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"expected pip install 'rdpipe\[workflow\]'"):
        snakemake_command([])


def test_help_says_how_to_call_it(capsys):
    assert main(["run", "--help"]) == 0
    assert capsys.readouterr().out.startswith("usage: rdpipe run [CONFIG]")


def test_default_config_is_found_from_another_directory(tmp_path):
    flags = ["--dry-run", "--directory", "elsewhere"]
    process = subprocess.run(
        [sys.executable, "-m", "rdpipe", "run", *flags],
        cwd=tmp_path,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    assert process.returncode == 0 and "make_report" in process.stdout, process.stdout
