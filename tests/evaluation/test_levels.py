"""Solving for a level."""

import math

import pytest

from rdpipe.evaluation.levels import secant, solve_level


@pytest.mark.parametrize("target", [1e-6, 0.3, 1.0, 7.0])
def test_level_has_the_target_distortion(target):
    assert solve_level(lambda level: level**2, target, 1.0) == pytest.approx(
        math.sqrt(target), rel=1e-10
    )


def test_level_of_a_distortion_with_a_step_is_bracketed():
    """The secant method fails there."""
    distortion = lambda level: math.atan(30 * (level - 3)) + 2
    level = solve_level(distortion, 2.0, 1e-3)
    assert level == pytest.approx(3.0, rel=1e-9)
    excess = lambda x: math.log(distortion(math.exp(x)) / 2)
    assert secant(excess, math.log(1e-3), 1e-12) is None


def test_level_is_infinite_if_the_distortion_stays_below_the_target():
    assert solve_level(lambda level: min(level, 1.0), 2.0, 1.0) == math.inf


def test_distortion_that_is_not_finite_is_refused():
    with pytest.raises(FloatingPointError, match="distortion nan at level 1"):
        solve_level(lambda level: math.nan, 1.0, 1.0)
