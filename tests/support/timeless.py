"""Products of a run without its times, which differ between two runs."""

import re
import zipfile
from pathlib import Path

import pandas as pd

TIMES = {"seconds", "encoder_seconds", "refinement_seconds"}
ON_PAGE = re.compile(rb'<!--times-->.*?<!--/times-->|(?<=class="seconds">)[^<]*', re.S)


def content(file: Path) -> dict[str, bytes] | bytes:
    """Return the bytes of a file, of the members of a store, or of the columns of a table."""
    if file.suffix == ".csv" or file.name == "ladder":
        table = pd.read_csv(file)
        if times := TIMES & set(table.columns):
            return table.drop(columns=times).to_csv().encode()
    if not zipfile.is_zipfile(file):
        return ON_PAGE.sub(b"", file.read_bytes())
    with zipfile.ZipFile(file) as members:
        names = [name for name in members.namelist() if not TIMES & set(name.split("/"))]
        return {name: members.read(name) for name in names}
