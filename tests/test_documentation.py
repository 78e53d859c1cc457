"""Paths that the documentation names exist, and the generated reference is complete."""

import importlib
import re
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
FOLDERS = "benchmarks|config|docs|examples|rdpipe|tests|workflow"
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "config").glob("*.md")),
    *sorted((ROOT / "docs").rglob("*.md")),
]
EXCEPTIONS = {
    "config/mine.yaml",  # the config that a reader writes
    "docs/reference/config.md",  # generated
}


@pytest.fixture
def config_reference(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "docs")
    yield importlib.import_module("config_reference")
    sys.modules.pop("config_reference", None)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_paths_in_a_page_exist(page):
    named = set(re.findall(rf"`((?:{FOLDERS})/[\w./*-]+)`", page.read_text()))
    named = {path for path in named if not re.search("[A-Z]{3}", Path(path).stem)} - EXCEPTIONS
    assert not [path for path in named if not list(ROOT.glob(path.rstrip("/")))]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_relative_links_in_a_page_lead_to_a_file(page):
    links = re.findall(r"\]\((?!https?:)([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
    assert not [
        link
        for link in links
        if not (page.parent / link).exists()
        and (page.parent / link).resolve() != ROOT / "docs" / "reference" / "config.md"
    ]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_names_in_a_page_can_be_imported(page):
    for name in re.findall(r"`(rdpipe(?:\.\w+)+)`", page.read_text()):
        try:
            importlib.import_module(name)
        except ModuleNotFoundError:
            module, _, attribute = name.rpartition(".")
            assert hasattr(importlib.import_module(module), attribute), name


def test_config_reference_has_every_key_of_the_schema(config_reference):
    file = ROOT / "workflow" / "schema.yaml"
    schema = yaml.safe_load(file.read_text())
    page = config_reference.render(file)
    headings = re.findall(r"^## `(\w+)`", page, re.MULTILINE)
    assert headings == list(schema["properties"])
    for key in schema["$defs"]["training"]["properties"]:
        assert f"| `NAME.{key}`" in page


def test_every_value_of_the_config_has_a_meaning(config_reference):
    page = config_reference.render(ROOT / "workflow" / "schema.yaml")
    sections = re.findall(r"^## (`\w+`)[^\n]*\n\n(\w+)", page, re.MULTILINE)
    assert not [key for key, first in sections if first in ("Type", "Default")]


@pytest.mark.parametrize("page", ["README.md", "docs/howto/faults.md", "docs/howto/cluster.md"])
def test_pages_say_the_same_of_a_killed_run(page):
    """The same command alone ends with a lock, and then maybe with IncompleteFilesException."""
    text = (ROOT / page).read_text()
    assert "--unlock" in text and "--rerun-incomplete" in text
