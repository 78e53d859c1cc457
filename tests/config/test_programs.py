"""Which files the commands of external baselines name."""

import sys
from pathlib import Path

import pytest

from rdpipe.config.programs import used_programs


@pytest.fixture
def config(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for name in ("bin/enc", "bin/dec"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).touch(mode=0o755)
    Path("intra.cfg").touch()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    args = {
        "encode": ["enc -c intra.cfg {input} {output}", "absent {input}"],
        "decode": "dec {input} {output}",
    }
    return {
        "baselines": {
            "vtm": {"use": "external", "args": args},
            "python": {
                "use": "external",
                "args": {"encode": "python a.py", "decode": "python a.py"},
            },
            "jpeg": {"args": {}},
        }
    }


def test_programs_and_the_files_of_their_commands(config, tmp_path):
    expected = [tmp_path / "bin/dec", tmp_path / "bin/enc", Path("intra.cfg")]
    assert used_programs(config, ["vtm"]) == expected


def test_long_argument_is_no_file(config):
    config["baselines"]["python"]["args"]["encode"] = f"python -c '{'x' * 5000}'"
    (program,) = used_programs(config, ["python"])
    assert program.name == "python"


def test_baselines_of_rdpipe_run_no_program(config):
    assert used_programs(config, ["jpeg"]) == []


def test_python_is_that_of_the_jobs(config):
    programs = used_programs(config, ["python"])
    assert programs == [Path(sys.executable).parent / "python"]
