"""The JSON that the page's scripts read."""

from rdpipe.report import payload
from rdpipe.report.answer import levers
from rdpipe.report.common_range import of_measure


def test_json_leaves_a_script_element_alone():
    text = payload.to_json({"</script>&": [float("nan"), 1 / 3, True, None, "\u2028"]})
    assert text == '{"\\u003c/script\\u003e\\u0026":[null,0.3333333,true,null,"\\u2028"]}'


def test_curves_are_marked_by_role(tables):
    rates = of_measure(tables["bd_rates"], "psnr")
    marks = {
        curve["name"]: [curve[mark] for mark in ("codec", "measured", "shared")]
        for curve in payload.curves(tables["points"], rates)
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


def test_curves_have_a_name_a_rate_and_genies_a_mark(tables):
    curves = payload.curves(tables["points"], of_measure(tables["bd_rates"], "psnr"))
    by_name = {curve["name"]: curve for curve in curves}
    assert by_name["codec/codec/test-channel"]["label"] == "test channel"
    assert by_name["codec/codec/test-channel"]["bd_rate"] == -12.34
    assert [name for name, curve in by_name.items() if curve["genie"]] == [
        "codec/element/test-channel"
    ]


def test_best_curves_are_those_that_save_most(tables):
    best = payload.best_curves(levers(tables["bd_rates"], "psnr"))
    assert best == {"bound": "joint", "code": "codec/codec/rounding"}
    worse = tables["bd_rates"].assign(bd_rate=1.0)
    assert payload.best_curves(levers(worse, "psnr")) == {}


def test_levers_have_the_rate_of_real_bytes(tables):
    """A range coder needs more than the code length; then another lever may come first."""
    simulated = levers(tables["bd_rates"], "psnr")
    before = {lever.curve: lever for lever in simulated}
    written = tables["available"].assign(
        cell="codec/codec/rounding", bd_rate=-0.2, bd_rate_low=-0.4, bd_rate_high=-0.1
    )
    after = {lever.curve: lever for lever in payload.in_real_bytes(simulated, written)}
    changed = after.pop("codec/codec/rounding")
    assert (changed.bd_rate, changed.bd_rate_low, changed.bd_rate_high) == (
        -0.2,
        -0.4,
        -0.1,
    ) and str(changed.kind) == "achieved"
    assert after == {curve: before[curve] for curve in after}
    first = [lever.bd_rate for lever in payload.in_real_bytes(simulated, written)]
    assert first == sorted(first)
    length = written.assign(kind="achievable")
    assert payload.in_real_bytes(simulated, length) == simulated
