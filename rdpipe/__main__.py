"""The command line: one subcommand for each stage, its flags taken from the stage's signature."""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import os
import sys
import threading
from pathlib import Path

from rdpipe.core.errors import InputError
from rdpipe.core.process import PEAK_MESSAGE, limit_threads, peak_memory

STAGES = (
    "prepare_dataset",
    "train_codec",
    "extract_latents",
    "fit_estimator",
    "measure_gap",
    "map_latents",
    "simulate",
    "write_bitstreams",
    "read_bitstreams",
    "run_anchor",
    "trace_bounds",
    "export_curves",
    "make_report",
    "summarise",
    "check_codec",
)


def from_json(text: str):
    """A flag's value as JSON."""
    try:
        return json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no JSON ({error}); allowed is {{\"name\": value}}")


TYPES = {
    "str": {"metavar": "NAME"},
    "int": {"type": int, "metavar": "NUMBER"},
    "dict": {"type": from_json, "metavar": "JSON"},
    "Path": {"type": Path, "metavar": "FILE"},
    "list[Path]": {"type": Path, "nargs": "*", "metavar": "FILE"},
}


def parser(stage: str, run) -> argparse.ArgumentParser:
    """Flags of a stage: one for each parameter of its function; positional-only ones have none."""
    stage_parser = argparse.ArgumentParser(
        f"rdpipe {stage}", description=inspect.getdoc(run).splitlines()[0]
    )
    for name, parameter in inspect.signature(run).parameters.items():
        required = parameter.default is inspect.Parameter.empty
        options = TYPES[parameter.annotation]
        if parameter.kind is parameter.POSITIONAL_ONLY:
            stage_parser.add_argument(name, **{**options, "metavar": name.upper()})
            continue
        stage_parser.add_argument(
            f"--{name}",
            required=required,
            default=None if required else parameter.default,
            **options,
        )
    return stage_parser


def quiet_where_a_disk_is_full(error) -> None:
    """What TensorBoard's thread cannot write, the one that waits for it cannot either, and says so."""
    if not issubclass(error.exc_type, OSError) or os.environ.get("RDPIPE_DEBUG"):
        threading.__excepthook__(error)


def main(argv: list[str] | None = None) -> int:
    """Run one stage; a user's mistake ends in one line on standard error and status 2."""
    argv = sys.argv[1:] if argv is None else argv
    if not argv or argv[0] not in STAGES:
        known = "\n  ".join(STAGES)
        print(
            f"usage: rdpipe STAGE [flags], rdpipe STAGE --help; stages:\n  {known}", file=sys.stderr
        )
        return 0 if argv in (["-h"], ["--help"]) else 2
    if str(Path.cwd()) not in sys.path:  # where modules of one's own are, also for the console script
        sys.path.append(str(Path.cwd()))
    run = importlib.import_module(f"rdpipe.stages.{argv[0]}").run
    flags = vars(parser(argv[0], run).parse_args(argv[1:]))
    parameters = inspect.signature(run).parameters.values()
    positional = [flags.pop(p.name) for p in parameters if p.kind is p.POSITIONAL_ONLY]
    threading.excepthook = quiet_where_a_disk_is_full
    try:
        run(*positional, **flags)
    except (InputError, OSError) as error:
        if os.environ.get("RDPIPE_DEBUG"):
            raise
        print(f"rdpipe {argv[0]}: {error}", file=sys.stderr)
        return 2
    if "out" in flags:  # it made a product: a job of the workflow, which has a log
        print(PEAK_MESSAGE.format(peak_memory() >> 20), file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())
