"""The whole run against its own stages, a second run against an empty workflow, two workers against one."""

import os
import statistics
import sys
from collections.abc import Iterator
from pathlib import Path

import yaml

from benchmarks.common import Figure, Options, by_turns, command
from rdpipe.report.stage_times import stage_times

HERE = Path(__file__).parents[1]


def snakemake(*words, cores: int = 1, **options) -> float:
    """Seconds of a run of Snakemake, which finds the interpreter that runs this."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path}
    words = ["-m", "snakemake", "--cores", cores, *words]
    return command(sys.executable, *words, env=environment, **options)[0]


def config_of(folder: Path, source: Path, **changes) -> Path:
    """A config that writes to a folder."""
    config = yaml.safe_load(source.read_text())
    config["pathvars"] = {"results": str(folder / "results"), "logs": str(folder / "logs")}
    folder.mkdir()
    file = folder / "config.yaml"
    file.write_text(yaml.safe_dump({**config, **changes}))
    return file


def figures(options: Options) -> Iterator[Figure]:
    count = iter(range(10**6))
    folders = {}

    def fresh(cores: int) -> float:
        folders[cores] = options.work / f"run-{next(count)}"
        config = config_of(folders[cores], options.config)
        return snakemake("--configfile", config, cores=cores, cwd=HERE)

    # a round is minutes: two of them
    rounds = by_turns(min(2, options.rounds), lambda: fresh(1), lambda: fresh(2))
    logs = folders[1] / "logs"
    stages = sum(one["seconds"] for one in stage_times(logs / "benchmarks", logs))
    name = options.config.stem
    yield Figure(f"all of {name} on one core", "its stages, start-up included", "<= 1.35",
                 [rounds[-1][0] / stages], f"{stages:.0f} s")  # fmt: skip
    yield Figure(f"all of {name}, 1 worker", "2 workers", ">= 1.7", [a / b for a, b in rounds])
    empty = options.work / "empty"
    empty.mkdir()
    (empty / "Snakefile").write_text("rule all:\n    input: []\n")
    again = ["--configfile", folders[1] / "config.yaml"]
    rounds = by_turns(
        options.rounds,
        lambda: snakemake(*again, cwd=HERE),
        lambda: snakemake("-n", cwd=empty),
    )
    note = f"{statistics.median(a for a, _ in rounds):.1f} s"
    yield Figure("a second run: nothing to be done", "snakemake -n, empty workflow", "<= 3",
                 [a / b for a, b in rounds], note)  # fmt: skip
