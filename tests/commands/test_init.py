"""A config is asked for, and is valid."""

from pathlib import Path

import pytest
import yaml

from rdpipe.__main__ import main
from rdpipe.commands import init
from rdpipe.config.check import complete
from rdpipe.core.errors import InputError

SCHEMA = Path(__file__).parents[2] / "workflow" / "schema.yaml"


@pytest.fixture
def answers(monkeypatch):
    """Return a function that sets the answers to all questions, in order."""

    def prepare(*texts):
        remaining = list(texts)
        monkeypatch.setattr("builtins.input", lambda question: remaining.pop(0))
        return remaining

    return prepare


def test_answers_make_a_valid_config(answers, tmp_path, capsys):
    remaining = answers("", str(tmp_path), "2, 4")
    file = tmp_path / "config" / "mine.yaml"
    assert main(["init", str(file)]) == 0
    config = yaml.safe_load(file.read_text())
    assert config["codecs"] == {"mini-mean-scale": {"qualities": [2, 4]}} and not remaining
    assert config["pathvars"] == {"results": "results-mine", "logs": "logs-mine"}
    assert complete(config, SCHEMA)["datasets"]["images"]["args"] == {"root": str(tmp_path)}
    assert f"rdpipe run {file}" in capsys.readouterr().out


def test_checkpoint_is_a_codec_of_compressai(answers, tmp_path):
    answers("")
    file = tmp_path / "mine.yaml"
    init.run(file, codec="a/{quality}.pth.tar", images=str(tmp_path), qualities="1 2")
    entry = yaml.safe_load(file.read_text())["codecs"]["mine"]
    assert entry["use"] == "compressai" and entry["qualities"] == [1, 2]
    assert entry["args"] == {"architecture": "mbt2018-mean", "checkpoint": "a/{quality}.pth.tar"}


def test_one_checkpoint_has_one_quality(answers, tmp_path):
    checkpoint, file = tmp_path / "weights.pth.tar", tmp_path / "mine.yaml"
    checkpoint.touch()
    answers("", "")
    init.run(file, codec=str(checkpoint), images=str(tmp_path))
    config = yaml.safe_load(file.read_text())
    assert complete(config, SCHEMA)["codecs"]["mine"]["qualities"] == [1]


def test_config_that_the_workflow_refuses_is_not_written(tmp_path):
    checkpoint, file = tmp_path / "weights.pth.tar", tmp_path / "mine.yaml"
    checkpoint.touch()
    flags = {"images": str(tmp_path), "architecture": "mbt2018-mean", "qualities": "1 2"}
    with pytest.raises(InputError, match="is the same for the qualities 1, 2"):
        init.run(file, codec=str(checkpoint), **flags)
    assert not file.exists()


def test_class_is_named_by_its_module(tmp_path, monkeypatch):
    (tmp_path / "init_example.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    file = tmp_path / "mine.yaml"
    init.run(file, codec="init_example:Codec", images=str(tmp_path), qualities="1")
    assert yaml.safe_load(file.read_text())["codecs"]["mine"]["use"] == "init_example:Codec"


@pytest.mark.parametrize(
    "flags, message",
    [
        ({"codec": "mini-mean"}, "did you mean 'mini-mean-scale'"),
        ({"images": "nowhere"}, "'nowhere' is not a folder"),
        ({"qualities": "1 x"}, "'1 x' are not qualities"),
    ],
)
def test_invalid_answer_writes_nothing(flags, message, tmp_path):
    valid = {"codec": "mini-scale", "images": str(tmp_path), "qualities": "1"}
    with pytest.raises(InputError, match=message):
        init.run(tmp_path / "mine.yaml", **(valid | flags))
    assert not list(tmp_path.iterdir())


def test_existing_file_stays_and_a_missing_answer_is_one_line(tmp_path, monkeypatch, capsys):
    file = tmp_path / "mine.yaml"
    file.write_text("a: 1\n")
    assert main(["init", str(file)]) == 2 and file.read_text() == "a: 1\n"

    def nobody(question):
        raise EOFError

    monkeypatch.setattr("builtins.input", nobody)
    assert main(["init", str(tmp_path / "other.yaml")]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert "exists already" in lines[0] and "no answer to 'Codec" in lines[1] and len(lines) == 2
