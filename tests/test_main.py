"""The command line: subcommands, flags from annotations, messages, threads."""

import importlib
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import rdpipe
from rdpipe.__main__ import (
    COMMANDS,
    STAGES,
    configure_logging,
    logger,
    main,
    parameter_texts,
    requested_threads,
    stage_parser,
)
from rdpipe.core.errors import InputError
from rdpipe.core.specs import Spec

MEASURE_GAP = (
    '{"matching": "image", "seed": 0,'
    ' "slices": [{"component": "joint", "means": {}, "variances": {}}]'
)


class Sizes(Spec):
    """A specification of this test."""

    width: int


def stage(
    word: str,
    count: int,
    fraction: float,
    file: Path,
    files: list[Path],
    options: dict[str, int],
    sizes: Sizes,
    fast: bool = False,
    limit: float = 0.5,
) -> None:
    """Do something.

    This is not in the description.
    """


def parse(*flags):
    return stage_parser("stage", stage).parse_args([str(flag) for flag in flags])


REQUIRED = [
    *("--word", "a", "--count", 3, "--fraction", 0.25, "--file", "f", "--files", "g", "h"),
    *("--options", '{"x": 1}', "--sizes", '{"width": 5}'),
]


def test_flags_have_the_types_of_the_parameters():
    values = vars(parse(*REQUIRED))
    assert values == {
        "word": "a",
        "count": 3,
        "fraction": 0.25,
        "file": Path("f"),
        "files": [Path("g"), Path("h")],
        "options": {"x": 1},
        "sizes": Sizes(width=5),
        "fast": False,
        "limit": 0.5,
    }
    assert parse(*REQUIRED, "--fast", "--limit", "1e-3").fast
    assert parse(*REQUIRED, "--limit", "1e-3").limit == 0.001


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--fraction", "x"], "argument --fraction: invalid float value: 'x'"),
        (["--options", "x=1"], "argument --options: 'x=1' is not JSON"),
        (["--options", "[1]"], "argument --options: .* is not a JSON object"),
        (["--sizes", "{}"], "argument --sizes: .* missing required field `width`"),
        (["--sizes", '{"width": "a"}'], "argument --sizes: .* Expected `int`, got `str`"),
        (["--sizes", '{"width": 1, "x": 2}'], "argument --sizes: .* unknown field `x`"),
        (["--unknown", "1"], "unrecognized arguments: --unknown"),
    ],
)
def test_invalid_flags_are_one_line(flags, message):
    with pytest.raises(InputError, match=message) as caught:
        parse(*REQUIRED, *flags)
    assert "\n" not in str(caught.value)


def test_unsupported_annotation_is_refused_with_stage_parameter_and_supported_types():
    def broken(numbers: set[int], out: Path) -> None:
        """Do something."""

    message = (
        r"parameter 'numbers' of stage broken has the type set\[int\]; expected one of: str, int"
    )
    with pytest.raises(InputError, match=message):
        stage_parser("broken", broken)


def test_parameter_without_annotation_is_refused():
    def broken(out) -> None:
        """Do something."""

    with pytest.raises(InputError, match="parameter 'out' of stage broken has no type"):
        stage_parser("broken", broken)


def test_every_module_with_a_function_run_is_a_stage():
    folder = Path(rdpipe.__file__).parent / "stages"
    modules = {file.stem for file in folder.glob("*.py") if "\ndef run(" in file.read_text()}
    assert modules == set(STAGES)
    assert {file.stem for file in (folder.parent / "commands").glob("[a-z]*.py")} == set(COMMANDS)


@pytest.mark.parametrize("name", [*COMMANDS, *STAGES])
def test_every_flag_has_a_help_text(name):
    package = "commands" if name in COMMANDS else "stages"
    run = importlib.import_module(f"rdpipe.{package}.{name}").run
    for action in stage_parser(name, run)._actions:
        assert action.help and len(action.help) > 5, action.dest


def test_help_is_the_description_in_the_docstring():
    def documented(first, second, third):
        """Do something.

        Parameters
        ----------
        first, second : int
            What ``both`` are, see
            :class:`~package.Name`: 5 %.
        third : str

        Returns
        -------
        None
        """

    text = "What both are, see package.Name: 5 %."
    assert parameter_texts(documented) == {"first": text, "second": text, "third": ""}


@pytest.mark.parametrize("name", [*COMMANDS, *STAGES])
def test_every_stage_has_flags_and_a_description(name, capsys):
    with pytest.raises(SystemExit) as ended:
        main([name, "--help"])
    assert ended.value.code == 0
    help_text = capsys.readouterr().out
    assert help_text.startswith(f"usage: rdpipe {name}") and len(help_text.split("\n\n")[1]) > 20


def test_invalid_specification_is_one_line_and_status_2(capsys):
    assert (
        main(["measure_gap", "--spec", MEASURE_GAP + "}", "--latents", "--fits", "--out", "x"]) == 2
    )
    error = capsys.readouterr().err
    assert error.startswith("rdpipe measure_gap: argument --spec: ")
    assert "missing required field `quantizers`" in error and error.count("\n") == 1


def test_version_and_help(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"rdpipe {rdpipe.__version__}\n"
    assert main(["--help"]) == 0
    usage = capsys.readouterr().out
    assert all(f"\n  {name}\n" in usage for name in STAGES)
    assert usage.index("\n  show ") < usage.index("stages, which the workflow runs:")


@pytest.mark.parametrize("words", [["--help"], ["explain"]])
def test_command_ends_quietly_if_its_reader_ends(words):
    read, write = os.pipe()
    os.close(read)
    command = [sys.executable, "-m", "rdpipe", *words]
    process = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, text=True)
    os.close(write)
    assert process.stderr == "" and process.returncode == -signal.SIGPIPE


def test_unknown_stage_is_refused_with_the_known_ones(capsys):
    assert main(["simulat"]) == main([]) == 2
    error = capsys.readouterr().err
    assert all(f"\n  {name}\n" in error for name in STAGES)


def test_log_has_the_message_and_the_level_of_warnings(capsys):
    configure_logging()
    configure_logging()  # a second call adds no second line
    logger.getChild("io").info("a message")
    logger.getChild("io").debug("a detail")
    logger.getChild("io").warning("a warning")
    assert capsys.readouterr().err == "a message\nWARNING: a warning\n"


def test_command_line_imports_nothing_heavy_before_the_threads_are_set():
    code = "import sys, rdpipe.__main__; print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in process.stdout.split()}
    assert not loaded & {"numpy", "scipy", "torch", "xarray", "zarr", "pandas"}


def test_threads_are_those_of_the_flag_or_one():
    assert requested_threads(["--spec", "{}", "--out", "x"]) == 1
    assert requested_threads(["--out", "x", "--threads", "3"]) == 3
    assert requested_threads(["--threads=2"]) == 2
    assert requested_threads(["--threads", "x"]) == requested_threads(["--threads", "0"]) == 1


CODEC = """
import os
import torch
from rdpipe.core.errors import InputError


def codec(quality):
    raise InputError(f"{torch.get_num_threads()} {os.environ['OMP_NUM_THREADS']}")
"""


@pytest.mark.parametrize("exported", [None, "1", "2", "4"])
def test_threads_of_a_stage_do_not_depend_on_the_environment(exported, tmp_path):
    (tmp_path / "counting.py").write_text(CODEC)
    environment = {key: value for key, value in os.environ.items() if key != "OMP_NUM_THREADS"}
    if exported:
        environment["OMP_NUM_THREADS"] = exported
    command = [sys.executable, "-m", "rdpipe", "check_codec", "counting:codec", "image.png"]
    process = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert process.returncode == 2
    assert process.stderr == "rdpipe check_codec: 1 1\n"
