"""Ranges in pyproject.toml, exact versions in constraints.txt, and environments made of them."""

import json
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import PackageNotFoundError, version
from itertools import chain
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
TOML = tomllib.loads((ROOT / "pyproject.toml").read_text())
PROJECT = TOML["project"]
EXTRAS = PROJECT["optional-dependencies"]
TARGET = TOML["tool"]["hatch"]["build"]["targets"]["wheel"]
WHEEL = {*TARGET["packages"], *TARGET["force-include"], "pyproject.toml", "README.md", "LICENSE"}
"""What a wheel is built from."""


def requirements() -> list[Requirement]:
    """Return the requirements of the core and of all extras, without references to other extras."""
    listed = [Requirement(text) for text in chain(PROJECT["dependencies"], *EXTRAS.values())]
    return [requirement for requirement in listed if requirement.name != "rdpipe"]


def pins() -> dict[str, str]:
    """Return the exact version of each package in constraints.txt."""
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    return dict(line.split("==") for line in lines if not line.startswith("#"))


def packages_of(extra: str) -> set[str]:
    """Return the names of the packages that an extra brings, those of its other extras included."""
    names = set()
    for requirement in map(Requirement, EXTRAS[extra]):
        if requirement.name == "rdpipe":
            names.update(*map(packages_of, requirement.extras))
        else:
            names.add(canonicalize_name(requirement.name))
    return names


def test_constraints_are_exact_sorted_and_unique():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    assert all(re.fullmatch(r"[a-z0-9-]+==[\w.]+", line) for line in lines)
    names = [line.split("==")[0] for line in lines]
    assert names == sorted(set(names), key=lambda name: f"{name}==")


def pip_section(file: str) -> list[str]:
    """Return what pip installs into an environment of conda with the Python of the lock."""
    dependencies = yaml.safe_load((ROOT / file).read_text())["dependencies"]
    assert dependencies[:2] == ["python=3.11", "pip"]
    return dependencies[2]["pip"]


def test_environment_of_jobs_is_that_of_the_lock():
    assert dict(pin.split("==") for pin in pip_section("workflow/envs/stages.yaml")) == locked()


def test_environment_of_a_user_has_rdpipe_itself(tmp_path):
    """Conda gives the section to pip as a file beside environment.yml, in whose folder pip runs."""
    lines = pip_section("environment.yml")
    assert "-c constraints.txt" in lines
    for name in (*WHEEL, "constraints.txt"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("weights"))
        else:
            shutil.copy(ROOT / name, tmp_path / name)
    (tmp_path / "requirements.txt").write_text("\n".join(lines))
    command = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-build-isolation"]
    report = tmp_path / "report.json"
    process = subprocess.run(
        [*command, "--dry-run", "-q", "--report", report, "-r", "requirements.txt"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert process.returncode == 0, process.stderr
    (installed,) = json.loads(report.read_text())["install"]
    assert installed["metadata"]["name"] == "rdpipe" and installed["requested_extras"] == ["all"]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_requirements_are_ranges_that_admit_the_pinned_version(requirement):
    pinned = pins()[canonicalize_name(requirement.name)]
    assert not any(specifier.operator in ("==", "===") for specifier in requirement.specifier)
    assert requirement.specifier.contains(pinned)


def test_installed_versions_are_the_pinned_versions():
    installed = {}
    for name in pins():
        try:
            installed[name] = version(name).split("+")[0]
        except PackageNotFoundError:
            installed[name] = "not installed"
    assert installed == pins()


def locked() -> dict[str, str]:
    """Return the version of each package in requirements.lock."""
    lines = (ROOT / "requirements.lock").read_text().splitlines()
    lines = [line for line in lines if not line.startswith("#")]
    pattern = r"([\w-]+)==([\w.]+)(?:\+cpu)? --hash=sha256:[0-9a-f]{64}  # \S+"
    versions = {canonicalize_name(m[1]): m[2] for m in (re.fullmatch(pattern, x) for x in lines)}
    assert len(versions) == len(lines)
    return versions


def test_lock_has_every_package_of_a_user_with_its_version_and_hash():
    assert locked().items() <= pins().items()
    core = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert core | packages_of("all") <= locked().keys()


def test_containerfile_copies_what_the_wheel_is_built_from():
    text = (ROOT / "Containerfile").read_text()
    copied = {name for line in re.findall("^COPY (.*) ", text, re.M) for name in line.split()}
    assert copied == WHEEL | {"requirements.lock"}


def test_core_has_what_a_codec_author_needs_beside_torch():
    core = {canonicalize_name(Requirement(text).name) for text in PROJECT["dependencies"]}
    assert core >= {"numpy", "scipy", "xarray", "zarr", "torch"}
    # numpy < 2, compiled extensions of torch, workflow and pages come with extras only
    assert not core & {"compressai", "torchvision", "snakemake", "matplotlib", "lightning-fabric"}
    numpy = next(r for r in map(Requirement, PROJECT["dependencies"]) if r.name == "numpy")
    assert numpy.specifier.contains("1.26.4") and numpy.specifier.contains("2.3.0")


@pytest.mark.parametrize(
    ("extra", "package"),
    [
        ("compressai", "compressai"),
        ("report", "matplotlib"),
        ("train", "lightning-fabric"),
        ("workflow", "snakemake"),
        ("slurm", "snakemake-executor-plugin-slurm"),
        ("test", "pytest"),
        ("lint", "ruff"),
        ("docs", "sphinx"),
    ],
)
def test_extra_brings_its_package(extra, package):
    assert package in packages_of(extra)


def test_extra_all_is_everything_but_the_tools_of_developers():
    tools = {"test", "lint", "docs"}
    users = set(EXTRAS) - tools - {"all", "dev"}
    assert packages_of("all") == set().union(*map(packages_of, users))
    assert packages_of("dev") == packages_of("all").union(*map(packages_of, tools))


def test_pythons_are_those_of_the_classifiers():
    assert PROJECT["requires-python"] == ">=3.11,<3.13"
    listed = [c.split(" :: ")[-1] for c in PROJECT["classifiers"] if "Python :: 3." in c]
    assert listed == ["3.11", "3.12"]
