"""Origin of products: commit, versions, machine, and digests of source files."""

import importlib.metadata
import subprocess

import pytest

from rdpipe.core import provenance


def test_commit_is_that_of_the_clone_or_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.commit() == "unknown (not a clone)"
    author = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
    for command in (
        ["init", "-q"],
        [*author, "commit", "-q", "--allow-empty", "-m", "first"],
    ):
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    head = subprocess.run(
        ["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True
    )
    assert provenance.commit() == head.stdout[:12]


def test_machine_has_cores_and_python():
    assert "cores, Python 3.1" in provenance.machine()


def test_versions_leave_out_packages_that_are_not_installed(monkeypatch):
    assert provenance.versions()["version_torch"] == importlib.metadata.version("torch")
    monkeypatch.setattr(provenance, "PACKAGES", ("numpy", "no-such-package"))
    assert set(provenance.versions()) == {"version_rdpipe", "version_numpy"}


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Return a function that writes files of a small package, which stands for rdpipe."""
    root = tmp_path / "rdpipe"

    def write(name, text=""):
        file = root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)

    for name in ("__init__.py", "a/__init__.py", "b/__init__.py", "b/other.py", "b/weights/w.txt"):
        write(name)
    write("a/stage.py", "import numpy\n\ndef run():\n    from rdpipe.b import tool\n")
    write("b/tool.py", "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import rdpipe.c\n")
    write("c.py")
    monkeypatch.setattr(provenance, "ROOT", root)
    return write


def digest():
    return provenance.source_digest("rdpipe.a.stage")


@pytest.mark.parametrize(
    "name", ["a/stage.py", "b/tool.py", "a/__init__.py", "b/__init__.py", "__init__.py"]
)
def test_digest_depends_on_imported_modules_and_parent_packages(package, name):
    before = digest()
    package(name, "from rdpipe.b import tool\n# changed\n")
    assert digest() != before


@pytest.mark.parametrize(
    "name", ["b/other.py", "c.py", "b/weights/w.txt", "unrelated/w.safetensors"]
)
def test_digest_does_not_depend_on_other_files(package, name):
    """``c`` is imported for type checkers only."""
    before = digest()
    package(name, "# changed")
    assert digest() == before


def test_digest_does_not_depend_on_what_a_parent_package_imports(package):
    package("b/__init__.py", "from rdpipe.b import other\n")
    package("__init__.py", "from rdpipe import c\n")
    before = digest()
    package("c.py", "# changed")
    assert digest() == before


def test_digest_depends_on_weights_below_the_modules(package):
    before = digest()
    package("b/weights/w.safetensors", "numbers")
    assert digest() != before


def test_plugin_counts_with_its_own_file(package, tmp_path, monkeypatch):
    file = tmp_path / "plugin_of_a_user.py"
    file.write_text("import rdpipe.b.other\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = provenance.source_digest("plugin_of_a_user")
    package("b/other.py", "# changed")
    assert provenance.source_digest("plugin_of_a_user") == before
    file.write_text("# changed")
    assert provenance.source_digest("plugin_of_a_user") != before


def test_package_that_is_imported_from_counts_with_what_it_imports(package):
    package("a/stage.py", "from rdpipe.b import name\n")
    package("b/__init__.py", "from rdpipe.b.other import name\n")
    before = digest()
    package("b/other.py", "name = 1")
    assert digest() != before
