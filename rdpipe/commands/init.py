"""Ask for a codec and a folder of images, and write a config."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from rdpipe.codecs import CODECS
from rdpipe.config.check import complete
from rdpipe.config.workflow import workflow_folder
from rdpipe.core.errors import InputError
from rdpipe.core.plugins import suggest

EMBEDDED = "mini-mean-scale"
"""The codec if none is named."""
ARCHITECTURE = "mbt2018-mean"
"""The architecture of a checkpoint if none is named."""


def run(
    config: Path,
    /,
    codec: str = "",
    images: str = "",
    qualities: str = "",
    architecture: str = "",
) -> None:
    """Write a config for a codec and a folder of images, and ask for what no flag says.

    Parameters
    ----------
    config : Path
        The YAML file to write, such as ``config/mine.yaml``; it must not exist.
    codec : str
        A known name, ``module:attribute``, or the checkpoint of a codec of CompressAI, in whose
        path ``{quality}`` stands for the quality.
    images : str
        Folder of the images.
    qualities : str
        Qualities of the codec: integers, separated by spaces; one for a single checkpoint.
    architecture : str
        Architecture of a checkpoint, a name of CompressAI.

    Raises
    ------
    InputError
        If the file exists, or an answer is invalid, or the config that they make.
    """
    if config.exists():
        raise InputError(f"{config} exists already; expected a new file")
    codec = codec or ask("Codec: a known name, module:attribute, or a checkpoint", EMBEDDED)
    entry = codec_entry(codec, architecture)
    images = images or ask("Folder of images", "")
    if not Path(images).expanduser().is_dir():
        raise InputError(f"{images!r} is not a folder; expected one with images")
    single = is_checkpoint(codec) and "{quality}" not in codec
    numbers = qualities or ask("Qualities", "1" if single else "1 2 3 4")
    content = {
        "pathvars": {"results": f"results-{config.stem}", "logs": f"logs-{config.stem}"},
        "datasets": {"images": {"use": "folder", "args": {"root": images}}},
        "codecs": {codec_name(codec): {**entry, "qualities": parse_qualities(numbers)}},
        "baselines": {"jpeg": {"qualities": [10, 30, 60, 85]}},
    }
    complete(content, workflow_folder() / "workflow" / "schema.yaml")
    text = yaml.safe_dump(content, sort_keys=False, default_flow_style=None)
    config.parent.mkdir(parents=True, exist_ok=True)
    config.write_text(f"# Written by rdpipe init. All keys: workflow/schema.yaml\n{text}")
    print(f"wrote {config}; run it with: rdpipe run {config}")


def ask(question: str, default: str) -> str:
    """Return the answer to a question, or the default if it is empty.

    Raises
    ------
    InputError
        If nobody can answer.
    """
    try:
        return input(f"{question} [{default}]: " if default else f"{question}: ").strip() or default
    except EOFError:
        raise InputError(f"no answer to {question!r}; expected one, or its flag") from None


def codec_entry(codec: str, architecture: str) -> dict[str, Any]:
    """Return the entry of a codec in the config, without its qualities."""
    if codec in CODECS:
        return {}
    if is_checkpoint(codec):
        architecture = architecture or ask("Architecture of the checkpoint", ARCHITECTURE)
        return {"use": "compressai", "args": {"architecture": architecture, "checkpoint": codec}}
    if ":" in codec:
        return {"use": codec}
    raise InputError(
        f"{codec!r} is neither module:attribute, nor the file of a checkpoint, nor a known codec;"
        f" {suggest(codec, CODECS)}"
    )


def is_checkpoint(codec: str) -> bool:
    """Return whether a text names a file, or files with the quality in their path."""
    return "{quality}" in codec or Path(codec).expanduser().is_file()


def codec_name(codec: str) -> str:
    """Return the name of a codec in the config."""
    return codec if codec in CODECS else "mine"


def parse_qualities(text: str) -> list[int]:
    """Return the qualities in a text.

    Raises
    ------
    InputError
        If one is not an integer.
    """
    try:
        qualities = [int(word) for word in text.replace(",", " ").split()]
    except ValueError:
        qualities = []
    if not qualities:
        raise InputError(f"{text!r} are not qualities; expected integers such as '1 2 3 4'")
    return qualities
