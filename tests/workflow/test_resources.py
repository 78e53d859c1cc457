"""Memory and run time that jobs request, in plans with a manifest that is written by hand."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]


class Plan:
    """A folder with a config and a manifest."""

    def __init__(self, folder: Path):
        self.folder = folder

    def resources(self, pixels: list[int] | None = None, **changes) -> dict[str, tuple[int, int]]:
        """Return memory (MB) and time (minutes) of the first job of each rule, by its name.

        Without pixels there is no manifest.
        """
        config = {
            "datasets": {"field": {"use": "folder", "args": {"root": "images"}, **changes}},
            "codecs": {"mini-mean-scale": {"qualities": [1]}},
            "baselines": {"jpeg": {"qualities": [10]}},
        }
        (self.folder / "plan.yaml").write_text(yaml.safe_dump(config))
        manifest = self.folder / "results/field/manifest.json"
        manifest.parent.mkdir(parents=True, exist_ok=True)
        manifest.unlink(missing_ok=True)
        if pixels:
            manifest.write_text(json.dumps({"images": [{"pixels": n} for n in pixels]}))
        flags = ["--configfile", "plan.yaml", "--cores", "1", "--dry-run", "--forceall"]
        process = subprocess.run(
            [sys.executable, "-m", "snakemake", "-s", ROOT / "Snakefile", *flags],
            cwd=self.folder,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        assert process.returncode == 0, process.stdout
        matches = re.findall(
            r"^rule (\w+):$(?:\n    .*)*\n    resources: (.*)$", process.stdout, re.M
        )
        values = {}
        for rule, text in reversed(matches):
            memory, time = re.search(r"mem_mb=(\d+)", text), re.search(r"runtime=(\d+)", text)
            if memory and time:
                values[rule] = int(memory[1]), int(time[1])
        return values


@pytest.fixture
def plan(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/a.png").touch()
    return Plan(tmp_path)


BY_IMAGE = {"extract_latents", "measure_gap", "simulate", "map_latents", "run_baseline"}


def test_memory_follows_the_largest_image_and_time_all_pixels(plan):
    kodak, many = plan.resources(), plan.resources([393216] * 240)
    large = plan.resources([12_000_000] * 2)
    for rule in BY_IMAGE:
        assert many[rule][0] <= kodak[rule][0] + 1 < large[rule][0], rule
        assert kodak[rule][1] < many[rule][1], rule
    assert large["simulate"][0] == 1500 + 14_400 + 1
    assert many["make_report"][0] > kodak["make_report"][0]


def test_shards_divide_the_time(plan):
    whole, shard = plan.resources([10**6] * 100), plan.resources([10**6] * 100, shards=10)
    for rule in BY_IMAGE:
        assert shard[rule][1] < whole[rule][1] and shard[rule][0] == whole[rule][0], rule
    assert whole["simulate"][1] - 15 == pytest.approx(10 * (shard["simulate"][1] - 15), abs=10)
