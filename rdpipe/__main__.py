"""Command line: one subcommand per stage, with flags from the signature of its function; ``run``.

Commands for people are functions of the same form, in :mod:`rdpipe.commands`.

The number of threads is set before a stage is imported, because numerical libraries read it from
the environment when they are loaded. This module therefore imports nothing heavy.
"""

from __future__ import annotations

import argparse
import importlib
import inspect
import json
import logging
import os
import re
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NoReturn, get_origin, get_type_hints

import rdpipe
from rdpipe.config.workflow import run_workflow
from rdpipe.core import forkserver
from rdpipe.core.attempts import once_if_hopeless
from rdpipe.core.device import memory_message
from rdpipe.core.errors import InputError, describe, is_of_user
from rdpipe.core.process import limit_threads, usage_message
from rdpipe.core.specs import Spec

COMMANDS = {
    "init": "ask for a codec and a folder of images, and write a config",
    "check": "check whether a codec can be analyzed, and say what to change",
    "show": "print the answer of a run: rate, PSNR, and where the bits are lost",
    "figure": "draw a figure of a run again, for a paper",
    "latex": "print the ladder and the BD-rates of a run as LaTeX tables",
    "explain": "explain a word of the page, the tables and the terminal",
}
"""The commands, each a module of :mod:`rdpipe.commands`, and what they do."""
STAGES = (
    "fetch_dataset",
    "fetch_weights",
    "prepare_dataset",
    "train_codec",
    "retune_codec",
    "refine_latents",
    "extract_latents",
    "fit_estimator",
    "fit_reconstruction",
    "measure_gap",
    "map_latents",
    "simulate",
    "write_bitstreams",
    "read_bitstreams",
    "run_baseline",
    "trace_bounds",
    "export_curves",
    "make_report",
    "check_codec",
)
"""The stages, in the order of the workflow; each is a module of :mod:`rdpipe.stages`."""
FORKED = tuple(stage for stage in STAGES if stage not in ("train_codec", "retune_codec"))
"""The stages that are short enough for a fork, and have no processes of their own."""
USAGE = "\n".join(
    [
        "usage: rdpipe run [CONFIG] [options of Snakemake]",
        "       rdpipe COMMAND [flags]",
        "       rdpipe COMMAND --help",
        "       rdpipe --version",
        "commands:",
        "  run       run the workflow of a config",
        *(f"  {name:10}{text}" for name, text in COMMANDS.items()),
        "stages, which the workflow runs:",
        *(f"  {name}" for name in STAGES),
    ]
)
Stage = Callable[..., None]
logger = logging.getLogger("rdpipe")


def parse_json(text: str) -> dict[str, Any]:
    """Return the JSON object in the value of a flag."""
    try:
        value = json.loads(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is not JSON: {error}") from error
    if not isinstance(value, dict):
        raise argparse.ArgumentTypeError(
            f'{text!r} is not a JSON object; expected {{"name": value}}'
        )
    return value


def parse_spec(spec: type[Spec], text: str) -> Spec:
    """Return the specification in the value of a flag."""
    try:
        return spec.from_json(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


FLAGS: dict[Any, dict[str, Any]] = {
    str: {"metavar": "NAME"},
    int: {"type": int, "metavar": "INTEGER"},
    float: {"type": float, "metavar": "NUMBER"},
    bool: {"action": argparse.BooleanOptionalAction},
    Path: {"type": Path, "metavar": "FILE"},
    list[Path]: {"type": Path, "nargs": "*", "metavar": "FILE"},
    list[str]: {"nargs": "*", "metavar": "TEXT"},
    dict: {"type": parse_json, "metavar": "JSON"},
}
"""How each type of a parameter is parsed."""


class Parser(argparse.ArgumentParser):
    """Parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        """Raise an error that :func:`main` prints."""
        raise InputError(f"{message} (see {self.prog} --help)")


def stage_parser(stage: str, run: Stage) -> Parser:
    """Return the parser of a stage: one flag per parameter; positional-only ones have no flag.

    The help of a flag is the description of the parameter in the docstring.

    Raises
    ------
    InputError
        If a parameter has a type that no flag can have.
    """
    parser = Parser(f"rdpipe {stage}", description=first_line(run), allow_abbrev=False)
    types, texts = get_type_hints(run), parameter_texts(run)
    for name, parameter in inspect.signature(run).parameters.items():
        options = flag_options(stage, name, types.get(name))
        text = texts.get(name) or first_line(types[name])
        options = {**options, "help": text.replace("%", "%%")}
        required = parameter.default is parameter.empty
        default = None if required else parameter.default
        if parameter.kind is parameter.POSITIONAL_ONLY:
            optional = {} if required else {"nargs": "?", "default": default}
            parser.add_argument(name, **{**options, **optional, "metavar": name.upper()})
            continue
        parser.add_argument(f"--{name}", required=required, default=default, **options)
    return parser


def first_line(described: Any) -> str:
    """Return the first line of a docstring."""
    return (inspect.getdoc(described) or "").partition("\n")[0]


def parameter_texts(run: Stage) -> dict[str, str]:
    """Return the descriptions of the parameters in a docstring of numpydoc, each as one line."""
    section = re.search(
        r"^Parameters\n-+\n(.*?)(?:\n\n\w+\n-+\n|\Z)", inspect.getdoc(run) or "", re.M | re.S
    )
    texts: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", section[1] if section else ""):
        head, _, text = entry.partition("\n")
        plain = re.sub(r":\w+:`~?([^`]*)`|``([^`]*)``", r"\1\2", " ".join(text.split()))
        texts |= dict.fromkeys(head.partition(" :")[0].split(", "), plain)
    return texts


def flag_options(stage: str, name: str, annotation: Any) -> dict[str, Any]:
    """Return how the flag of a parameter is parsed.

    Raises
    ------
    InputError
        If its type is not supported; names the supported ones.
    """
    if isinstance(annotation, type) and issubclass(annotation, Spec):
        return {"type": partial(parse_spec, annotation), "metavar": "JSON"}
    if get_origin(annotation) is dict:
        return FLAGS[dict]
    if annotation in FLAGS:
        return FLAGS[annotation]
    supported = ", ".join(inspect.formatannotation(known) for known in [*FLAGS, Spec])
    shown = "no type" if annotation is None else f"the type {inspect.formatannotation(annotation)}"
    raise InputError(
        f"parameter {name!r} of stage {stage} has {shown}; expected one of: {supported}"
    )


def requested_threads(flags: list[str]) -> int:
    """Return the value of ``--threads``; 1 if there is no such flag or the value is invalid."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False, exit_on_error=False)
    parser.add_argument("--threads", type=int, default=1)
    try:
        return max(1, parser.parse_known_args(flags)[0].threads)
    except argparse.ArgumentError:  # the parser of the stage reports it
        return 1


class StderrHandler(logging.StreamHandler):  # type: ignore[type-arg]
    """Handler that writes to ``sys.stderr`` as it is when a message is logged."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> Any:  # type: ignore[override]
        """The current standard error."""
        return sys.stderr

    def format(self, record: logging.LogRecord) -> str:
        """Return the message, with the name of its level from warnings on."""
        message = super().format(record)
        return message if record.levelno < logging.WARNING else f"{record.levelname}: {message}"


def configure_logging() -> None:
    """Send the messages of the package to standard error."""
    if not any(isinstance(handler, StderrHandler) for handler in logger.handlers):
        logger.addHandler(StderrHandler())
    logger.setLevel(logging.INFO)


def quiet_if_disk_is_full(error: threading.ExceptHookArgs) -> None:
    """Do not print errors of files in threads.

    If the thread of TensorBoard cannot write, the thread that waits for it cannot either, and
    reports the error.
    """
    if not issubclass(error.exc_type, OSError) or os.environ.get("RDPIPE_DEBUG"):
        threading.__excepthook__(error)


def run_stage(stage: str, flags: list[str]) -> None:
    """Parse the flags of a stage and run it."""
    started = time.monotonic()
    package = "commands" if stage in COMMANDS else "stages"
    run = importlib.import_module(f"rdpipe.{package}.{stage}").run
    values = vars(stage_parser(stage, run).parse_args(flags))
    parameters = inspect.signature(run).parameters.values()
    positional = [values.pop(p.name) for p in parameters if p.kind is p.POSITIONAL_ONLY]
    with once_if_hopeless(values.get("out")):
        run(*positional, **values)
    if "out" in values:  # a job of the workflow, which has a log
        logger.info(usage_message(time.monotonic() - started))


def serve(listener: int, owned: int) -> None:
    """Import every stage that forks, and run each job in a fork of this process.

    Parameters
    ----------
    listener, owned : int
        Descriptors, see :func:`rdpipe.core.forkserver.start`.
    """
    limit_threads(1)
    for stage in FORKED:
        importlib.import_module(f"rdpipe.stages.{stage}")
    forkserver.serve(socket.socket(fileno=listener), owned, main)


def message_of(error: Exception) -> str | None:
    """Return an error as one line if the user can correct it; None for an error of rdpipe."""
    if isinstance(error, InputError):
        return str(error)
    if message := memory_message(error):
        return message
    if is_of_user(error):
        return f"{describe(error)}; RDPIPE_DEBUG=1 shows the traceback"
    return str(error) if isinstance(error, OSError) else None


def main(argv: list[str] | None = None) -> int:
    """Run the workflow, a command or one stage.

    An error that the user can correct is one line on standard error, and status 2.
    """
    stage, *flags = (sys.argv[1:] if argv is None else argv) or [""]
    if argv is None and stage in FORKED and requested_threads(flags) == 1:
        status = forkserver.request([stage, *flags])
        if status is not None:
            return status
    if argv is None and stage not in ("run", "check", *STAGES) and hasattr(signal, "SIGPIPE"):
        # end quietly if the reader ends, as in | head; these commands have no other pipe
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    if stage == "--version":
        print(f"rdpipe {rdpipe.__version__}")
        return 0
    if stage == "run":
        return run_workflow(flags)
    if stage not in (*COMMANDS, *STAGES):
        requested = stage in ("-h", "--help")
        print(USAGE, file=sys.stdout if requested else sys.stderr)
        return 0 if requested else 2
    if str(Path.cwd()) not in sys.path:  # modules of the user, also for the console script
        sys.path.append(str(Path.cwd()))
    limit_threads(requested_threads(flags))
    configure_logging()
    threading.excepthook = quiet_if_disk_is_full
    try:
        run_stage(stage, flags)
    except Exception as error:
        message = message_of(error)
        if message is None or os.environ.get("RDPIPE_DEBUG"):
            raise
        print(f"rdpipe {stage}: {message}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
