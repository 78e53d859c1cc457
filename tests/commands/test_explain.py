"""Words of the page are explained."""

import pytest

from rdpipe.__main__ import main
from rdpipe.commands import explain
from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind
from rdpipe.report.words import GLOSSARY, TERM_NAMES


@pytest.mark.parametrize("term", ["Test-Channel", "test channel"])
def test_term_is_found_without_case_and_hyphens(term, capsys):
    explain.run(term)
    assert capsys.readouterr().out.startswith("test channel: Gaussian noise in the place of")


def test_every_term_and_every_kind_is_explained():
    names = {name.partition(" (")[0] for name in GLOSSARY}
    assert {str(kind) for kind in BoundKind} <= set(GLOSSARY)
    assert {"variance", "quantization", "context", "encoder", "decoder", "transforms"} <= names
    assert {TERM_NAMES[term] for term in ("coder", "prior", "side")} <= names


def test_unknown_term_is_one_line_with_similar_ones(capsys):
    with pytest.raises(InputError, match="'quantisation' is not a term; did you mean 'quantiz"):
        explain.run("quantisation")
    assert main(["explain", "nothing like it"]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_without_a_term_all_are_listed(capsys):
    assert main(["explain"]) == 0
    assert capsys.readouterr().out.splitlines() == list(GLOSSARY)
