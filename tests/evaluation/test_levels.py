"""Solving for a level."""

import math

import numpy as np
import pytest

from rdpipe.evaluation.levels import QUALITY_TOLERANCE, match_quality, secant, solve_level


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


class Quality:
    def __init__(self, quality):
        self.quality = quality


@pytest.mark.parametrize("slope", [0.7, 1.5, 6.0])
@pytest.mark.parametrize("target", [27.0, 30.1, 33.0])
def test_quality_is_matched_with_few_evaluations(slope, target):
    """The quality is a straight line over log2(level), with a bend."""
    tried = []

    def evaluate(level):
        tried.append(level)
        x = np.log2(level)
        return Quality(30 - slope * x - 0.1 * np.tanh(x))

    result, level, reason = match_quality(evaluate, target, 0.9, 2.0)
    assert not reason and abs(result.quality - target) <= QUALITY_TOLERANCE
    assert evaluate(level).quality == result.quality and level == np.float32(level)
    assert len(tried) <= 8


def test_level_beyond_a_flat_part_is_found():
    """Between 0.1 and 0.12 octaves the quality rises by little, and all levels tried are too good.

    A guess from the best of them leads back to the same place.
    """

    def evaluate(level):
        x = np.log2(level)
        rise = 0.0 if x < 0.1 else 0.0002
        return Quality(30 - min(3 * x, 0.3) + rise - 3 * max(0.0, x - 0.12))

    result, *_ = match_quality(evaluate, 29.69, 1.0, 3.0)
    assert abs(result.quality - 29.69) <= QUALITY_TOLERANCE


def test_quality_of_steps_is_matched_as_closely_as_possible():
    """A small image has a quality with jumps; the level next to the jump is used."""

    def evaluate(level):
        return Quality(30 - 0.03 * np.round(100 * np.log2(level)))

    result, _, reason = match_quality(evaluate, 31.0, 1.0, 3.0)
    assert not reason and abs(result.quality - 31.0) <= 0.016


def test_quality_that_is_not_reached_has_a_reason():
    _, _, reason = match_quality(lambda level: Quality(min(30.0, 29 - level)), 35.0, 1.0, 2.0)
    assert "give 28.00 to" in reason and "not 35.00 dB" in reason
    constant = match_quality(lambda level: Quality(30.0), 30.0, 1.0, 2.0)
    assert not constant[2] and constant[1] == 1.0
