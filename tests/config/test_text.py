"""Texts of config files: what YAML would drop or misread in silence."""

import json
from pathlib import Path

import pytest
import yaml

from rdpipe.config.text import check_text
from rdpipe.core.errors import InputError

ROOT = Path(__file__).parents[2]


def check(folder: Path, text: str) -> None:
    """Check a text in a file."""
    (folder / "mine.yaml").write_text(text)
    check_text(folder / "mine.yaml")


@pytest.mark.parametrize("file", sorted((ROOT / "config").glob("*.yaml")), ids=lambda f: f.stem)
def test_configs_of_the_repository_are_accepted(file):
    check_text(file)


@pytest.mark.parametrize(
    "text, line, key, first",
    [
        ("codecs: {a: {}}\ndatasets: {}\ncodecs: {b: {}}\n", 3, "codecs", 1),
        ("codecs:\n  a:\n    args: {x: 1}\n  'a': {}\n", 4, "a", 2),
        ("limits:\n- {mean: codec,\n   mean: zero}\n", 3, "mean", 2),
        ("x: &x {a: 1}\ny:\n  <<: *x\n  b: 1\n  b: 2\n", 5, "b", 4),
        ('{"seed": 1,\n"seed": 2}', 2, "seed", 1),
    ],
)
def test_duplicate_key_is_named_with_both_lines(text, line, key, first, tmp_path):
    assert yaml.safe_load(text)  # YAML takes the last one
    message = f"mine.yaml: line {line}: duplicate key '{key}', which is also in line {first};"
    with pytest.raises(InputError, match=message):
        check(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "a: {x: 1}\nb: {x: 1}\n",
        "x: &x {a: 1}\ny: &y {b: 1}\nz:\n  <<: *x\n  <<: *y\n  a: 2\n",
        "a: &a [*a]\n",
        "",
        "a: 'unfinished\n",
        "? {a: b}\n: 1\n",
    ],
)
def test_keys_that_differ_are_accepted(text, tmp_path):
    """Also a merged key that is replaced, a cycle, and what Snakemake refuses itself."""
    check(tmp_path, text)


@pytest.mark.parametrize("place", ["levels: [0.1, {}]", "codecs: {{c: {{args: {{gamma: {}}}}}}}"])
def test_unquoted_number_that_yaml_reads_as_text_is_refused(place, tmp_path):
    with pytest.raises(InputError, match="line 2: 1e-3 is a text for YAML; write 1.0e-3"):
        check(tmp_path, "seed: 1\n" + place.format("1e-3"))
    for text in ("1.0e-3", "'1e-3'", '"1e-3"', "1e-3.pt"):
        check(tmp_path, "seed: 1\n" + place.format(text))


def test_numbers_of_json_are_numbers(tmp_path):
    text = '{"simulate": {"levels": [1e-3, 1E2]}}'
    assert json.loads(text)["simulate"]["levels"] == [0.001, 100]
    check(tmp_path, text)
