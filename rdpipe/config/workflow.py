"""Running the workflow by Snakemake, from a clone and from an installed wheel."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path

from rdpipe.core.errors import InputError

USAGE = """usage: rdpipe run [CONFIG] [TARGET ...] [OPTION ...]

Run the workflow by Snakemake, in the working directory. Without CONFIG, five photographs that are
installed are analyzed. TARGET and OPTION are those of Snakemake, such as --cores 4 or --dry-run;
`snakemake --help` lists them. They override those of the profile in workflow/profiles/default."""
CONFIG_SUFFIXES = (".yaml", ".yml", ".json")
"""Suffixes of config files; another first argument is a target."""


def workflow_folder() -> Path:
    """Return the folder with the Snakefile: part of the wheel, or the clone."""
    package = Path(str(files("rdpipe")))
    packaged = package / "_workflow"
    return packaged if packaged.is_dir() else package.parent


def snakemake_command(arguments: Sequence[str]) -> list[str]:
    """Return the command of Snakemake for the arguments of ``rdpipe run``.

    Parameters
    ----------
    arguments : sequence of str
        A config file, if the first one has its suffix; then targets and options of Snakemake.

    Raises
    ------
    InputError
        If there is no such config file, or Snakemake is not installed.
    """
    configs, others = list(arguments[:1]), list(arguments[1:])
    if configs and Path(configs[0]).suffix not in CONFIG_SUFFIXES:
        configs, others = [], list(arguments)
    if configs and not Path(configs[0]).is_file():
        raise InputError(f"there is no file {configs[0]!r}; expected a config such as mine.yaml")
    if find_spec("snakemake") is None:
        raise InputError("Snakemake is not installed; expected pip install 'rdpipe[workflow]'")
    folder = workflow_folder()
    return [
        *(sys.executable, "-P", "-m", "snakemake"),
        *("--logger", "rdpipe"),  # it and --configfile take all words that follow
        *(["--configfile", *configs] if configs else []),
        *("--snakefile", str(folder / "Snakefile")),
        *("--workflow-profile", str(folder / "workflow" / "profiles" / "default")),
        *others,
    ]


def run_workflow(arguments: Sequence[str]) -> int:
    """Replace this process by Snakemake; see :func:`snakemake_command`."""
    if arguments and arguments[0] in ("-h", "--help"):
        print(USAGE)
        return 0
    try:
        command = snakemake_command(arguments)
    except InputError as error:
        print(f"rdpipe run: {error}", file=sys.stderr)
        return 2
    os.execv(command[0], command)
