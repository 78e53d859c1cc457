"""Digests of what Python executes."""

import pytest

from rdpipe.io import sources
from rdpipe.io.sources import Sources


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
    monkeypatch.setattr(sources, "ROOT", root)
    return write


def digest():
    return Sources().digest("rdpipe.a.stage")


@pytest.mark.parametrize(
    "name", ["a/stage.py", "b/tool.py", "a/__init__.py", "b/__init__.py", "__init__.py"]
)
def test_digest_depends_on_imported_modules_and_parent_packages(package, name):
    before = digest()
    package(name, "from rdpipe.b import tool\nchanged = 1\n")
    assert digest() != before


TEXT = '''"""A module."""

__version__ = "1"
limit = "a text that counts"


class A:
    """A class."""

    size: int
    """An attribute."""

    def f(self):
        """Return 1."""
        return 1
'''


@pytest.mark.parametrize(
    ("before", "after", "counts"),
    [
        ("A module.", "The module.", False),
        ("A class.", "The class.", False),
        ("An attribute.", "The attribute.", False),
        ("Return 1.", "Return the first integer.", False),
        ('"1"', '"2"', False),
        ("return 1", "return  1  # one", False),
        ("return 1", "return 2", True),
        ("that counts", "that changed", True),
        ("size: int", "size: float", True),
    ],
)
def test_only_what_python_executes_counts(package, before, after, counts):
    package("b/tool.py", TEXT)
    first = digest()
    package("b/tool.py", TEXT.replace(before, after))
    assert (digest() != first) == counts


@pytest.mark.parametrize(
    "name", ["b/other.py", "c.py", "b/weights/w.txt", "unrelated/w.safetensors"]
)
def test_digest_does_not_depend_on_other_files(package, name):
    """``c`` is imported for type checkers only."""
    before = digest()
    package(name, "changed = 1")
    assert digest() == before


def test_digest_does_not_depend_on_what_a_parent_package_imports(package):
    package("b/__init__.py", "from rdpipe.b import other\n")
    package("__init__.py", "from rdpipe import c\n")
    before = digest()
    package("c.py", "changed = 1")
    assert digest() == before


def test_digest_depends_on_templates_below_the_modules(package):
    before = digest()
    package("b/parts/page.j2", "text")
    assert digest() != before


def test_files_count_with_their_bytes(package, tmp_path):
    file = tmp_path / "w.safetensors"
    file.write_bytes(b"1")
    (module, weights) = Sources().digests(["rdpipe.a.stage"], [file])
    assert module == f"rdpipe.a.stage: {digest()}" and weights.startswith("w.safetensors: ")
    file.write_bytes(b"2")
    assert Sources().digests(["rdpipe.a.stage"], [file])[1] != weights


PLUG_IN = {
    "user_codec/__init__.py": "raise RuntimeError('it is not executed')\n",
    "user_codec/factory.py": "import numpy\nfrom .parts import model\nimport beside_codec\n",
    "user_codec/parts/__init__.py": "",
    "user_codec/parts/model.py": "from .. import layers\nfrom rdpipe.b import other\n",
    "user_codec/layers.py": "",
    "user_codec/unused.py": "",
    "beside_codec.py": "import user_codec.layers\n",
    "unused_beside.py": "",
}


@pytest.mark.parametrize("name", PLUG_IN)
def test_plug_in_counts_with_what_it_imports_of_its_own(package, tmp_path, monkeypatch, name):
    monkeypatch.syspath_prepend(tmp_path / "user")
    for file, text in PLUG_IN.items():
        (tmp_path / "user" / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "user" / file).write_text(text)
    before = Sources().digest("user_codec.factory")
    (tmp_path / "user" / name).write_text(PLUG_IN[name] + "changed = 1\n")
    assert (Sources().digest("user_codec.factory") != before) == ("unused" not in name)


def test_plug_in_counts_with_what_it_imports_of_rdpipe(package, tmp_path, monkeypatch):
    (tmp_path / "plugin_of_a_user.py").write_text("import numpy\nimport rdpipe.b.other\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = Sources().digest("plugin_of_a_user")
    package("b/other.py", "changed = 1")
    assert Sources().digest("plugin_of_a_user") != before


def test_installed_packages_do_not_belong_to_each_other():
    """Their versions count instead."""
    assert sources._home("numpy") == sources._home("xarray")
    assert not sources._is_part_of("numpy", "xarray")
    assert sources._is_part_of("xarray.core", "xarray")


def test_plug_in_that_python_cannot_read_counts_with_its_text(tmp_path, monkeypatch):
    (tmp_path / "broken_plug_in.py").write_text("def (")
    monkeypatch.syspath_prepend(tmp_path)
    before = Sources().digest("broken_plug_in")
    (tmp_path / "broken_plug_in.py").write_text("def ((")
    assert Sources().digest("broken_plug_in") != before


def test_package_that_is_imported_from_counts_with_what_it_imports(package):
    package("a/stage.py", "from rdpipe.b import name\n")
    package("b/__init__.py", "from rdpipe.b.other import name\n")
    before = digest()
    package("b/other.py", "name = 1")
    assert digest() != before


def test_cache_answers_for_a_source_of_the_same_content_only(package, tmp_path, monkeypatch):
    cache = tmp_path / "state" / "sources.json"
    first = Sources(cache)
    before = first.digest("rdpipe.a.stage")
    first.save()
    monkeypatch.setattr(sources, "_read_code", None)  # nothing is parsed again
    assert Sources(cache).digest("rdpipe.a.stage") == before
    monkeypatch.undo()
    monkeypatch.setattr(sources, "ROOT", tmp_path / "rdpipe")
    package("b/tool.py", "changed = 1")
    after = Sources(cache)
    assert after.digest("rdpipe.a.stage") == Sources().digest("rdpipe.a.stage") != before
    entries = cache.read_text()
    after.save()
    assert cache.read_text() != entries


def test_after_an_edit_only_the_edited_source_is_parsed(package, tmp_path, monkeypatch):
    package("a/other_stage.py", "from rdpipe import c\n")
    parsed, read_code = [], sources._read_code
    monkeypatch.setattr(
        sources, "_read_code", lambda *source: parsed.append(source) or read_code(*source)
    )

    def plan():
        parsed.clear()
        read = Sources(tmp_path / "sources.json")
        for stage in ("rdpipe.a.stage", "rdpipe.a.other_stage"):
            read.digest(stage)
            read.save()
        return len(parsed)

    assert plan() > 1 and plan() == 0
    package("b/tool.py", "changed = 1")
    assert plan() == 1 and plan() == 0


@pytest.mark.parametrize("content", ["", "[1]", '{"a": '])
def test_damaged_cache_is_ignored_and_replaced(package, tmp_path, content):
    cache = tmp_path / "sources.json"
    cache.write_text(content)
    sources = Sources(cache)
    assert sources.digest("rdpipe.a.stage") == digest()
    sources.save()
    assert len(cache.read_text()) > 100


def test_cache_that_cannot_be_written_does_no_harm(package, tmp_path):
    (tmp_path / "file").write_text("")
    sources = Sources(tmp_path / "file" / "sources.json")
    assert sources.digest("rdpipe.a.stage") == digest()
    sources.save()
