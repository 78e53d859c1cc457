"""One list of versions, whoever installs."""

import re
import tomllib
from importlib.metadata import version
from pathlib import Path

import yaml

ROOT = Path(__file__).parents[1]


def project() -> list[str]:
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return about["dependencies"] + sum(about["optional-dependencies"].values(), [])


def constraints() -> list[str]:
    return [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line[0] != "#"]


def normal(pins: list[str]) -> set[str]:
    return {pin.lower().replace("_", "-") for pin in pins}


def test_everything_is_pinned_exactly():
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", pin) for pin in project() + constraints())


def test_conda_gets_the_same_versions():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert normal(pip) == normal(project()) | normal(constraints())
    assert "python=3.11" in environment["dependencies"]


def test_the_pins_agree_with_each_other():
    names = [pin.split("==")[0] for pin in normal(project()) | normal(constraints())]
    assert len(names) == len(set(names))


def test_what_is_installed_is_what_is_pinned():
    for pin in project():
        name, wanted = pin.split("==")
        assert version(name).split("+")[0] == wanted
