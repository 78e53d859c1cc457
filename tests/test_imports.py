"""Who may import whom (the house rule), read from the sources."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent / "rdpipe"


def imports(file: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return found


def packages(folder: str) -> set[str]:
    return {name for file in (ROOT / folder).rglob("*.py") for name in imports(file)}


def test_theory_knows_only_numpy_and_scipy():
    foreign = {name.split(".")[0] for name in packages("theory")} - sys.stdlib_module_names
    assert foreign <= {"numpy", "scipy", "rdpipe"}
    assert all(n.startswith("rdpipe.theory") for n in packages("theory") if n.startswith("rdpipe"))


@pytest.mark.parametrize("folder", ["axes", "codecs", "datasets", "report"])
def test_nothing_below_the_stages_imports_them(folder):
    assert not any(
        name.startswith(("rdpipe.stages", "rdpipe.__main__")) for name in packages(folder)
    )


def test_axes_know_no_files():
    outside = ("pathlib", "rdpipe.store", "rdpipe.datasets", "rdpipe.codecs", "rdpipe.stages")
    assert not [name for name in packages("axes") if name.startswith(outside)]


def test_only_the_store_knows_zarr():
    assert [f.name for f in ROOT.rglob("*.py") if any("zarr" in n for n in imports(f))] == [
        "store.py"
    ]


def test_nothing_imports_snakemake():
    assert not any("snakemake" in name for name in packages("."))


def test_what_the_snakefile_imports_is_light():
    code = "import sys, rdpipe.config.check, rdpipe.provenance; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {
        "torch",
        "compressai",
        "xarray",
        "zarr",
        "pandas",
        "scipy",
    }
