"""Looks of the curves."""

import pytest

from rdpipe.core.errors import InputError
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.report import style, words


@pytest.mark.parametrize("styles", [style.STYLES, style.WEB_STYLES])
def test_kinds_differ_in_more_than_color(styles):
    looks = [tuple(map(str, look.values())) for look in styles.values()]
    assert len(set(looks)) == len(looks)
    assert styles.keys() == words.KINDS.keys() == set(BoundKind)
    assert not {"open", "white"} & set(str(styles[BoundKind.ACHIEVED]).split("-"))


def test_color_depends_on_the_role():
    colors = style.curve_colors(CurveRole)
    assert colors == ["#000000", *style.COLORS[:4], *style.GRAYS]


def test_unknown_kind_is_refused():
    assert style.kind_label("genie-aided estimate") == "genie-aided estimate, not a bound"
    with pytest.raises(InputError, match="'genie' is not a valid bound kind"):
        style.kind_label("genie")
