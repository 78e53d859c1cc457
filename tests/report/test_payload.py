"""The JSON that the page's scripts read."""

from rdpipe.report import payload


def test_json_leaves_a_script_element_alone():
    text = payload.to_json({"</script>&": [float("nan"), 1 / 3, True, None, "\u2028"]})
    assert text == '{"\\u003c/script\\u003e\\u0026":[null,0.3333333,true,null,"\\u2028"]}'


def test_curves_are_marked_by_role(tables):
    marks = {
        curve["name"]: [curve[mark] for mark in ("codec", "measured", "shared")]
        for curve in payload.curves(tables["points"])
    }
    cell = [False, True, False]
    assert marks == {
        "codec": [True, True, False],
        "codec/codec/rounding": cell,
        "codec/codec/test-channel": cell,
        "codec/element/test-channel": cell,
        "jpeg": [False, False, True],
        "theirs": [False, False, True],
    }
