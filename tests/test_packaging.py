"""The wheel and the editable install, in environments with a part of the dependencies."""

import json
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import numpy as np
import pytest
import yaml
from packaging.requirements import Requirement
from PIL import Image

import rdpipe

ROOT = Path(__file__).parents[1]
PYTHON_TAG = f"python{sys.version_info.major}.{sys.version_info.minor}"


def run(*command, **options) -> str:
    """Run a command and return its standard output."""
    process = subprocess.run([*map(str, command)], capture_output=True, text=True, **options)
    assert process.returncode == 0, process.stdout + process.stderr
    return process.stdout


def with_dependencies(names: list[str]) -> set[str]:
    """Return the names of packages together with those of everything that they require."""
    closure, remaining = set(), list(names)
    while remaining:
        name = remaining.pop()
        if name not in closure:
            closure.add(name)
            required = map(Requirement, distribution(name).requires or [])
            remaining += [
                r.name for r in required if not r.marker or r.marker.evaluate({"extra": ""})
            ]
    return closure


def requirements(extra: str) -> list[str]:
    """Return the names of the packages that the core or an extra of rdpipe requires."""
    required = [Requirement(text) for text in distribution("rdpipe").requires or []]
    chosen = [
        r for r in required if (r.marker.evaluate({"extra": extra}) if r.marker else not extra)
    ]
    return [r.name for r in chosen if r.name != "rdpipe"]


class Environment:
    """Virtual environment without pip, to which installed packages are linked one by one."""

    def __init__(self, folder: Path):
        run(sys.executable, "-m", "venv", "--without-pip", folder)
        self.bin = folder / "bin"
        self.packages = folder / "lib" / PYTHON_TAG / "site-packages"

    def install(self, *arguments) -> None:
        """Install by pip, without dependencies and without a package index."""
        options = ["--no-deps", "--no-index", "--no-build-isolation", "--disable-pip-version-check"]
        python = self.bin / "python"
        run(sys.executable, "-m", "pip", "-q", "--python", python, "install", *options, *arguments)

    def link(self, names: set[str]) -> None:
        """Make packages of the running environment available in this one."""
        for name in names:
            files = distribution(name).files or []
            for entry in {file.parts[0] for file in files} - {"..", "__pycache__"}:
                target = Path(sysconfig.get_path("purelib")) / entry
                if target.exists() and not (self.packages / entry).exists():
                    (self.packages / entry).symlink_to(target)


@pytest.fixture(scope="module")
def built(tmp_path_factory) -> Path:
    """Return the folder with the sdist and the wheel that was built from it."""
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder, ROOT)
    return folder


@pytest.fixture(scope="module")
def wheel(built) -> Path:
    return next(built.glob("*.whl"))


@pytest.fixture(scope="module")
def core(wheel, tmp_path_factory) -> Environment:
    """Return an environment with the wheel and the dependencies of the core, without extras."""
    environment = Environment(tmp_path_factory.mktemp("core") / "venv")
    environment.install(wheel)
    environment.link(with_dependencies(requirements("")))
    return environment


@pytest.fixture
def project(tmp_path) -> Path:
    """Return a folder with a codec of a user and an image."""
    shutil.copy(ROOT / "examples" / "my_codec.py", tmp_path)
    ramp = np.add.outer(np.arange(64), np.arange(96))
    image = np.stack([ramp, 2 * ramp % 256, ramp[::-1]], axis=2).astype(np.uint8)
    Image.fromarray(image).save(tmp_path / "photo.png")
    return tmp_path


def test_wheel_holds_the_package_with_its_data_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    files = {
        name for name in names if not name.startswith(f"rdpipe-{rdpipe.__version__}.dist-info/")
    }
    packages = {"rdpipe", "snakemake_logger_plugin_rdpipe"}
    assert {name.split("/")[0] for name in files} == packages
    assert {"rdpipe/__init__.py", "rdpipe/py.typed", "rdpipe/theory/__init__.py"} <= files
    assert {"_workflow/Snakefile", "_workflow/workflow/schema.yaml"} <= {
        name.removeprefix("rdpipe/") for name in files
    }
    for folder, pattern in [("codecs/weights", "*.safetensors"), ("report/template", "*")]:
        data = {f"rdpipe/{folder}/{path.name}" for path in (ROOT / "rdpipe" / folder).glob(pattern)}
        assert data and data <= files
    assert f"rdpipe-{rdpipe.__version__}.dist-info/licenses/LICENSE" in names


def test_metadata_names_licence_authors_and_extras(wheel):
    with zipfile.ZipFile(wheel) as archive:
        metadata = archive.read(f"rdpipe-{rdpipe.__version__}.dist-info/METADATA").decode()
    for line in [
        f"Version: {rdpipe.__version__}",
        "Author: the rdpipe developers",
        "License-Expression: MIT",
        "Requires-Python: <3.13,>=3.11",
        "Provides-Extra: compressai",
        "Classifier: Typing :: Typed",
    ]:
        assert re.search(f"^{re.escape(line)}$", metadata, re.MULTILINE), line
    assert "Keywords: " in metadata and "Description-Content-Type: text/markdown" in metadata


def test_citation_has_the_version_of_the_package():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["version"] == rdpipe.__version__
    assert citation["references"][0]["identifiers"][0]["value"] == "arXiv:2601.09254"


def test_sdist_holds_the_sources_tests_and_workflow_and_no_product(built):
    with tarfile.open(next(built.glob("*.tar.gz"))) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames()}
    assert {
        "Snakefile",
        "CITATION.cff",
        "constraints.txt",
        "docs/conf.py",
        "rdpipe/py.typed",
        "tests/test_packaging.py",
        "workflow/schema.yaml",
    } <= names
    products = (".venv", "results", "logs", ".snakemake", "docs/_build", "docs/reference/api/")
    assert not [name for name in names if name.startswith(products) or "__pycache__" in name]


def test_wheel_prints_its_version(core):
    assert run(core.bin / "rdpipe", "--version").split()[-1] == rdpipe.__version__


def test_wheel_checks_a_codec_with_the_core_only(core, project):
    command = ["check_codec", "my_codec:MyCodec", "photo.png", "--quality", "2"]
    assert "no problem" in run(core.bin / "rdpipe", *command, cwd=project)


def test_wheel_decomposes_an_array_with_the_core_only(core, project):
    code = """
import numpy as np, rdpipe, sys
from PIL import Image
from my_codec import MyCodec

image = np.asarray(Image.open("photo.png"))
terms = rdpipe.decompose(MyCodec(2), {"photo": image})
assert np.isfinite(terms["bits"].sel(term=["coder", "prior", "side", "quantization"])).all()
assert not {"compressai", "torchvision", "matplotlib", "snakemake"} & set(sys.modules)
print(rdpipe.__file__, *terms["bits"].sizes)
"""
    file, *dimensions = run(core.bin / "python", "-c", code, cwd=project).split()
    assert Path(file) == core.packages / "rdpipe" / "__init__.py"
    assert set(dimensions) == {"limit", "order", "term", "image"}


def test_wheel_runs_the_workflow_from_the_folder_of_a_user(wheel, project, tmp_path):
    """A job runs, and the command that the page prints plans the same run."""
    environment = Environment(tmp_path / "venv")
    environment.install(wheel)
    needed = [name for extra in ("", "report", "workflow") for name in requirements(extra)]
    environment.link(with_dependencies(needed))
    config = {
        "datasets": {"mine": {"use": "folder", "args": {"root": ".", "pattern": "*.png"}}},
        "codecs": {"mine": {"use": "my_codec:MyCodec", "qualities": [2]}},
    }
    (project / "mine.yaml").write_text(yaml.safe_dump(config))
    command = [environment.bin / "rdpipe", "run", "mine.yaml", "--cores", "1"]
    run(*command, "results/mine/manifest.json", cwd=project)
    assert "photo.png" in (project / "results/mine/manifest.json").read_text()
    planned = run(*command, "--dry-run", "--printshellcmds", cwd=project)
    assert "make_report" in planned and "prepare_dataset" not in planned
    printed = shlex.split(re.search("python -P -m rdpipe make_report.*", planned)[0])
    again = json.loads(printed[printed.index("--origin") + 1])["command"]
    assert again.startswith("snakemake --snakefile ")
    repeated = [environment.bin / "python", "-m", *shlex.split(again), "--dry-run"]
    assert run(*repeated, "--printshellcmds", cwd=project).count("rdpipe make_report") == 1
    default = [environment.bin / "rdpipe", "run", "--dry-run", "--directory", "other"]
    assert "results/sample/manifest.json" in run(*default, cwd=project)


def test_theory_needs_numpy_and_scipy_only(wheel, tmp_path):
    environment = Environment(tmp_path / "venv")
    environment.install(wheel)
    environment.link(with_dependencies(["numpy", "scipy"]))
    code = """
import importlib.util
from rdpipe.theory import rounding_rate

assert not any(map(importlib.util.find_spec, ["torch", "xarray", "lazy_loader", "msgspec"]))
print(round(float(rounding_rate(1.0)), 4))
"""
    assert run(environment.bin / "python", "-c", code, cwd=tmp_path) == "2.1048\n"


def test_script_in_the_parent_folder_of_a_clone_imports_the_package(tmp_path):
    clone = tmp_path / "rdpipe"
    clone.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE", "Snakefile"):
        shutil.copy(ROOT / name, clone)
    for name in ("config", "snakemake_logger_plugin_rdpipe", "workflow"):
        shutil.copytree(ROOT / name, clone / name)
    shutil.copytree(ROOT / "rdpipe", clone / "rdpipe", ignore=shutil.ignore_patterns("weights"))
    environment = Environment(tmp_path / "venv")
    environment.link(with_dependencies(["hatchling", "numpy"]))
    environment.install("--editable", clone)
    code = "import rdpipe; print(rdpipe.__file__, rdpipe.__version__)"
    output = run(environment.bin / "python", "-c", code, cwd=tmp_path)
    assert output.split() == [str(clone / "rdpipe" / "__init__.py"), rdpipe.__version__]
