"""Origin of products: commit, versions and machine."""

import importlib.metadata
import subprocess

from rdpipe.__main__ import STAGES
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


def test_versions_are_those_of_the_packages_of_the_stage(monkeypatch):
    monkeypatch.setitem(provenance.STAGE_PACKAGES, "stage", ("numpy", "no-such-package"))
    numpy = f"numpy: {importlib.metadata.version('numpy')}"
    assert provenance.installed_versions("stage") == [numpy]
    assert numpy in provenance.installed_versions("another")


def test_packages_are_those_of_stages_and_are_installed():
    assert provenance.STAGE_PACKAGES.keys() <= set(STAGES)
    for stage in STAGES:
        packages = provenance.STAGE_PACKAGES.get(stage, provenance.NUMERICAL)
        assert len(provenance.installed_versions(stage)) == len(packages)
