"""Where a page comes from."""

import subprocess

from rdpipe.core import provenance


def test_the_commit_is_that_of_the_clone_or_unknown(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "ROOT", tmp_path)
    assert provenance.commit() == "unknown (not a clone)"
    for command in (["init", "-q"], ["-c", "user.name=n", "-c", "user.email=e@example.org", "commit", "-q",
                                     "--allow-empty", "-m", "first"]):  # fmt: skip
        subprocess.run(["git", "-C", str(tmp_path), *command], check=True)
    head = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], capture_output=True, text=True)
    assert provenance.commit() == head.stdout[:12]


def test_the_machine_is_named():
    assert "cores, Python 3.11" in provenance.machine()
