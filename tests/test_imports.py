"""The import order of the packages, read from the sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "rdpipe"
LOOSE = {"__init__.py", "__main__.py", "api.py"}
ALLOWED = {
    "theory": set(),
    "core": set(),
    "entropy": {"core"},
    "estimators": {"core", "entropy"},
    "quantizers": {"core", "entropy", "estimators"},
    "evaluation": {"core", "entropy", "estimators", "quantizers"},
    "io": {"core"},
    "datasets": {"core", "theory", "io"},
    "codecs": {"core", "theory", "entropy"},
    "baselines": {"core"},
    "refinement": {"core", "entropy", "estimators", "quantizers"},
    "training": {
        "core", "entropy", "quantizers", "evaluation", "refinement", "codecs", "datasets", "io",
    },
    "analysis": {"core", "theory", "io"},
    "config": {"core", "baselines", "codecs", "datasets", "estimators", "quantizers", "refinement"},
    "report": {"core", "theory", "evaluation", "analysis", "io"},
    "stages": {
        "core", "evaluation", "estimators", "baselines", "codecs", "refinement", "training",
        "datasets", "io", "analysis", "report",
    },
    "commands": {"core", "codecs", "config", "io", "report", "stages"},
}  # fmt: skip
"""The packages that each package imports besides itself, in the order in which they build."""


def imports(file: Path) -> set[str]:
    """Return the modules that a file imports, and the names that it imports from them."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file}: relative import"
            names |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return names


def imported_packages(package: str) -> set[str]:
    """Return the packages of rdpipe that the files of a package import."""
    names = {name for file in (ROOT / package).rglob("*.py") for name in imports(file)}
    packages = {name.split(".")[1] for name in names if name.startswith("rdpipe.")}
    return {name for name in packages if (ROOT / name).is_dir()} - {package}


def test_every_package_is_in_the_table():
    packages = {path.parent.name for path in ROOT.glob("*/__init__.py")}
    assert packages == ALLOWED.keys()
    assert {path.name for path in ROOT.glob("*.py")} == LOOSE


@pytest.mark.parametrize("package", ALLOWED)
def test_a_package_imports_exactly_what_the_table_says(package):
    assert imported_packages(package) == ALLOWED[package]


def test_the_table_has_no_cycle():
    built: set[str] = set()
    for package, imported in ALLOWED.items():
        assert imported <= built, package
        built.add(package)


def test_no_package_imports_a_module_beside_the_packages():
    names = {name for file in ROOT.glob("*/**/*.py") for name in imports(file)}
    assert not any(name.startswith(("rdpipe.api", "rdpipe.__main__")) for name in names)


def test_theory_imports_only_numpy_and_scipy():
    names = {name for file in (ROOT / "theory").rglob("*.py") for name in imports(file)}
    foreign = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    assert foreign <= {"numpy", "scipy", "rdpipe"}


@pytest.mark.parametrize("package", ["theory", "entropy", "estimators", "quantizers", "evaluation"])
def test_estimators_know_no_files(package):
    names = {name for file in (ROOT / package).rglob("*.py") for name in imports(file)}
    assert "pathlib" not in names


def test_only_the_store_knows_zarr():
    users = [file.name for file in ROOT.rglob("*.py") if any("zarr" in n for n in imports(file))]
    assert users == ["store.py"]


def test_nothing_imports_snakemake():
    names = {name for file in ROOT.rglob("*.py") for name in imports(file)}
    assert not any("snakemake" in name for name in names)


def test_what_the_snakefile_imports_is_light():
    code = "import sys, rdpipe.config.check, rdpipe.core.provenance; print(*sys.modules)"
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    heavy = {"torch", "compressai", "xarray", "zarr", "pandas", "scipy"}
    assert not set(process.stdout.split()) & heavy


def test_importing_the_axes_is_light():
    """The Snakefile asks the classes of estimators for their traits."""
    code = (
        "import sys; from rdpipe.core.axes import AXES;"
        "from rdpipe.core.plugins import load_attribute;"
        "[load_attribute(target) for axis in AXES for target in axis.registry.values()];"
        "print(*sys.modules)"
    )
    process = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )
    loaded = {name.split(".")[0] for name in process.stdout.split() if "." in name}
    assert not loaded & {"torch", "scipy", "constriction"}


def test_public_names_exist():
    code = "import rdpipe; print(*[getattr(rdpipe, name).__class__ for name in rdpipe.__all__])"
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
