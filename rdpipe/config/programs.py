"""External programs that baselines run."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from rdpipe.baselines import BASELINES
from rdpipe.config.query import Config
from rdpipe.core.plugins import locate


def used_programs(config: Config, baselines: Iterable[str]) -> list[Path]:
    """Return the programs of some baselines, and the files that their commands name.

    Programs are searched for like in a job. Those that are not found are left out: the job names
    them.
    """
    commands = [
        shlex.split(command)
        for name in baselines
        for command in _commands(name, config["baselines"][name])
    ]
    search = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])
    programs = (shutil.which(words[0], path=search) for words in commands if words)
    files = (word for words in commands for word in words[1:] if _is_file(word))
    return sorted({Path(file) for file in [*programs, *files] if file})


def _is_file(word: str) -> bool:
    """Return whether a word of a command is a file."""
    try:
        return Path(word).is_file()
    except (OSError, ValueError):  # too long for a path, or with a null character
        return False


def _commands(name: str, entry: Mapping[str, Any]) -> list[str]:
    """Return the commands of a baseline; none if it is not an external program."""
    if locate("baseline", entry.get("use", name), BASELINES)[0] != BASELINES["external"]:
        return []
    parts = (entry["args"][key] for key in ("encode", "decode"))
    return [text for part in parts for text in ([part] if isinstance(part, str) else part)]
