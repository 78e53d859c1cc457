"""Causal and fitted estimators: what they may see, and what they are known to find."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rdpipe.evaluation import evaluate
from rdpipe.estimators import means as mean, variances as variance
from rdpipe.quantizers import scalar as quantizer
from rdpipe.estimators.causal import Past, waves
from rdpipe.evaluation.cell import Cell
from rdpipe.estimators.context_network import Network
from rdpipe.quantizers.scalar import Rounding
from rdpipe.quantizers.test_channel import WeightedTestChannel
from rdpipe.core.errors import InputError
from rdpipe.core.latents import Latents
from rdpipe.theory import gaussian_rate, rounding_rate

NO_ESCAPE = -math.log2(1 - 2**-20)


def normal(shape, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def field(a, b, rows, columns, seed, sigma):
    """Separable AR(1): y = a west + b north - a b north-west + e, stationary."""
    e = normal((rows, columns), seed).numpy() * sigma * math.sqrt((1 - a * a) * (1 - b * b))
    e[:, 0] /= math.sqrt(1 - a * a)
    e[0] /= math.sqrt(1 - b * b)
    for j in range(1, columns):
        e[:, j] += a * e[:, j - 1]
    for i in range(1, rows):
        e[i] += b * e[i - 1]
    return torch.from_numpy(e)


def latents(y, scale=1.0, m=0.0, name="a"):
    return Latents(name, y, torch.full_like(y, m), torch.full_like(y, scale))


def fitted_mean(images, **args):
    estimator = mean.LinearCausal(**args)
    estimator.use(estimator.fit(images))
    return estimator


@given(
    st.integers(1, 9), st.integers(1, 7), st.integers(1, 8), st.integers(1, 4), st.integers(0, 3)
)
def test_waves_visit_every_element_once(channels, rows, columns, groups, radius):
    count = torch.zeros(channels, rows * columns)
    for part, positions in waves((channels, rows, columns), groups, radius):
        count[part, positions] += 1
    assert (count == 1).all()


@pytest.mark.parametrize("radius", [1, 2, 3])
def test_a_wave_depends_only_on_earlier_ones(radius):
    rows, columns = 6, 9
    number = torch.empty(rows * columns)
    for i, (_, positions) in enumerate(waves((1, rows, columns), 1, radius)):
        number[positions] = i
    number = number.view(rows, columns)
    for i in range(rows):
        for j in range(columns):
            past = [(i, j - k) for k in range(1, radius + 1)]
            past += [
                (i - k, j + d) for k in range(1, radius + 1) for d in range(-radius, radius + 1)
            ]
            assert all(number[p] < number[i, j] for p in past if p[0] >= 0 and 0 <= p[1] < columns)


def test_the_past_is_zero_where_nothing_is_decoded():
    past = Past(torch.ones(2, 3, 4), 2)
    past.move(torch.tensor([5]))
    past.put(slice(1, 2), torch.tensor([[3.0]]).double(), torch.tensor([[2.0]]).double())
    past.move(torch.tensor([5, 6, 10, 0]))
    seen = past.at(past.energy, slice(0, 2), [(0, 0), (0, -1), (-1, -1)])
    assert seen[1].tolist() == [[4, 0, 0], [0, 4, 0], [0, 0, 4], [0, 0, 0]]
    assert (seen[0] == 0).all() and past.done.sum() == 1


@pytest.mark.parametrize("a, b", [(0.9, 0.8), (0.5, 0.0), (-0.6, 0.7)])
def test_linear_causal_finds_the_coefficients_and_saves_what_they_promise(a, b):
    """SCIENCE.md, section 6, case 5: 1/2 log2(E y^2 / E e^2) per element at high rate."""
    draw = lambda seed: latents(field(a, b, 300, 300, seed, 60.0)[None])
    estimator = mean.LinearCausal(groups=1, ridge=0.0)
    fit = estimator.fit([draw(1), draw(2)])
    found = dict(zip(estimator.neighbours, fit["space"][0]))
    expected = {(0, -1): a, (-1, 0): b, (-1, -1): -a * b}
    for offset, weight in found.items():
        assert weight == pytest.approx(expected.get(offset, 0.0), abs=0.03)
    bits = evaluate(draw(3), {"zero": {}, "linear-causal": {"args": {"groups": 1}}}, ["channel"], ["rounding"],
                    fits={("mean", "linear-causal"): fit})["bits"].squeeze() / 300**2  # fmt: skip
    saved = (bits.sel(mean="zero") - bits.sel(mean="linear-causal")).item()
    # of this sample, whose second moment is uncertain by a few per cent; borders cost 0.01
    moment = draw(3).y.square().mean().item()
    assert saved == pytest.approx(
        0.5 * math.log2(moment / (60**2 * (1 - a * a) * (1 - b * b))), abs=0.02
    )


def test_linear_causal_finds_dependence_between_channels():
    first = normal((1, 60, 60), 1) * 40
    second = 0.7 * first + normal((1, 60, 60), 2) * 10
    fit = mean.LinearCausal(groups=2, ridge=0.0).fit([latents(torch.cat([first, second]))])
    assert fit["channel"][1, 0] == pytest.approx(0.7, abs=0.02)
    assert fit["channel"][0].tolist() == [0, 0]
    assert np.abs(fit["space"]).max() < 0.05


def test_linear_causal_is_what_a_plain_loop_computes():
    y, m = 5 * normal((4, 5, 6), 3), normal((4, 5, 6), 4)
    one = Latents("a", y, m, torch.ones_like(y))
    estimator = fitted_mean([one], groups=2, ridge=0.1)
    cell = Cell(estimator, variance.Codec(), Rounding())
    got = cell.send(cell.prepare(one), 1.0).y_hat
    space, channel = estimator.weights["space"], estimator.weights["channel"]
    expected = torch.zeros_like(y)
    for group in (0, 2):
        for i in range(5):
            for j in range(6):
                for c in (group, group + 1):
                    mu = m[c, i, j].clone()
                    for k, (di, dj) in enumerate(estimator.neighbours):
                        if 0 <= i + di < 5 and 0 <= j + dj < 6:
                            mu += space[c, k] * (expected - m)[c, i + di, j + dj]
                    mu += channel[c, :group] @ (expected - m)[:group, i, j]
                    expected[c, i, j] = mu + (y[c, i, j] - mu).round()
    torch.testing.assert_close(got, expected)


def test_causal_window_is_what_a_plain_loop_computes():
    y = 3 * normal((2, 5, 6), 3)
    one, estimator = latents(y), variance.CausalWindow(3, weight=2.0)
    cell = Cell(mean.Zero(), estimator, Rounding())
    known, _ = variance.Channel()(one, y)
    bits = 16.0 + 60 * NO_ESCAPE
    for c in range(2):
        for i in range(5):
            for j in range(6):
                past = [(i - 1, j - 1), (i - 1, j), (i - 1, j + 1), (i, j - 1)]
                noise = min(1 / 12, known[c, 0, 0].item())
                past = [y[c, p, q].round() ** 2 + noise for p, q in past if p >= 0 and 0 <= q < 6]
                v = (2 * known[c, i, j] + sum(past)) / (2 + len(past))
                bits += Rounding().code(y[c, i, j], v, 1.0).bits.item()
    assert cell.send(cell.prepare(one), 1.0).bits == pytest.approx(bits, rel=1e-12)


@pytest.mark.parametrize("how", [Rounding(), quantizer.TestChannel()])
@pytest.mark.parametrize("causal", ["mean", "variance"])
def test_nothing_depends_on_what_is_coded_later(how, causal):
    """Causal estimators see the quantizer's own past: another future changes no earlier y_hat."""
    y = 5 * normal((4, 7, 8), 5)
    estimator = fitted_mean([latents(y)], groups=2) if causal == "mean" else mean.Codec()
    spread = variance.CausalWindow(5, towards="codec") if causal == "variance" else variance.Codec()
    cell = Cell(estimator, spread, how)
    changed = y.clone()
    changed[2:, 3, 4] += 50
    one, other = (cell.send(cell.prepare(latents(values)), 0.1).y_hat for values in (y, changed))
    order = list(waves(y.shape, estimator.groups if causal == "mean" else 1, 2))
    here = next(i for i, (channels, p) in enumerate(order) if channels.stop > 2 and 3 * 8 + 4 in p)
    for channels, positions in order[:here]:
        assert torch.equal(
            one.flatten(1)[channels, positions], other.flatten(1)[channels, positions]
        )
    assert not torch.equal(one, other)


def test_causal_window_follows_a_variance_that_changes():
    strength = torch.where(torch.arange(64) < 32, 1.0, 12.0).double()
    one = latents(normal((2, 64, 64), 6) * strength[:, None])
    bits = evaluate(one, ["zero"], ["channel", "causal-window"], ["rounding"])["bits"].squeeze()
    # a variance known exactly would save 0.8 bit per element here
    assert (bits.sel(variance="channel") - bits.sel(variance="causal-window")).item() / 8192 > 0.4


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.25, 2.0])
def test_calibrated_removes_a_misstated_scale(factor):
    """SCIENCE.md, section 6, case 3: all of the gap (c^-2 - 1)/(2 ln 2) + log2 c is removed."""
    sigma = 2 ** (
        2 + 3 * torch.rand((4, 80, 80), generator=torch.Generator().manual_seed(1)).double()
    )
    draw = lambda seed, c: Latents("a", sigma * normal(sigma.shape, seed), 0 * sigma, c * sigma)
    fit = variance.Calibrated().fit([draw(2, factor), draw(3, factor)], {"zero": mean.Zero()})
    wrong, true = draw(4, factor), draw(4, 1.0)
    bits = evaluate(wrong, ["zero"], ["codec", "calibrated"], ["rounding"],
                    fits={("variance", "calibrated"): fit})["bits"].squeeze() / sigma.numel()  # fmt: skip
    known = evaluate(true, ["zero"], ["codec"], ["rounding"])["bits"].item() / sigma.numel()
    gap = (factor**-2 - 1) / (2 * math.log(2)) + math.log2(factor)
    assert bits.sel(variance="codec").item() - known == pytest.approx(gap, abs=0.02)
    assert abs(bits.sel(variance="calibrated").item() - known) < 0.005


def test_calibrated_is_monotone_in_sigma():
    scale = 2 ** (
        6 * torch.rand((1, 60, 60), generator=torch.Generator().manual_seed(1)).double() - 3
    )
    one = Latents("a", normal(scale.shape), 0 * scale, scale)
    log_scale, log_ratio = variance.Calibrated().fit([one], {"codec": mean.Codec()})["codec"]
    moment = log_ratio + 2 * log_scale
    assert (np.diff(moment) >= -1e-12).all() and (np.diff(log_scale) > 0).all()


def test_calibrated_knows_the_residuals_of_each_mean():
    """A mean that is 2 sigma off: 5 sigma^2 is left of it, and none of the loss is a variance's."""
    sigma = torch.full((2, 150, 150), 4.0).double()
    draw = lambda seed: Latents("a", 8 * normal(sigma.shape, seed) + 4 * normal(sigma.shape, seed + 9),
                                8 * normal(sigma.shape, seed), sigma)  # fmt: skip
    means = {"zero": mean.Zero(), "codec": mean.Codec()}
    fits = {("variance", "calibrated"): variance.Calibrated().fit([draw(1)], means)}
    cube = evaluate(draw(2), list(means), ["calibrated"], ["rounding"], fits=fits)
    bits = cube["bits"].squeeze() / sigma.numel()
    assert bits.sel(mean="codec").item() == pytest.approx(rounding_rate(4.0), abs=0.02)
    assert bits.sel(mean="zero").item() == pytest.approx(rounding_rate(math.sqrt(80)), abs=0.02)
    with pytest.raises(InputError, match="not fitted to the mean 'hyper'; it was to codec, zero"):
        evaluate(draw(2), ["hyper"], ["calibrated"], ["rounding"], fits=fits)


def test_calibrated_knows_what_a_causal_mean_leaves():
    y, later = (field(0.9, 0.8, 200, 200, seed, 20.0)[None] for seed in (1, 2))
    estimator = fitted_mean([latents(y)], groups=1)
    fit = variance.Calibrated().fit([latents(y)], {"linear-causal": estimator})
    fits = {("variance", "calibrated"): fit, ("mean", "linear-causal"): {
        name: w.numpy() for name, w in estimator.weights.items()}}  # fmt: skip
    entries = {"linear-causal": {"args": {"groups": 1}}}
    bits = evaluate(latents(later), entries, ["calibrated"], ["rounding"], fits=fits)["bits"]
    left = 20**2 * (1 - 0.9**2) * (1 - 0.8**2)
    assert bits.item() / y.numel() == pytest.approx(rounding_rate(math.sqrt(left)), abs=0.03)


def test_fitted_estimators_must_be_fitted():
    with pytest.raises(InputError, match="variance 'calibrated' must be fitted first.*calibration"):
        evaluate(latents(normal((1, 4, 4))), ["zero"], ["calibrated"], ["rounding"])


def test_hyper_is_the_mean_without_context_where_there_is_one():
    y = normal((1, 4, 4))
    assert torch.equal(mean.Hyper()(latents(y, m=2.0)), torch.full_like(y, 2.0))
    both = Latents("a", y, y + 1, y.exp(), hyper=y + 2)
    assert torch.equal(mean.Hyper()(both), y + 2)


@pytest.mark.parametrize("theta", [0.02, 0.25, 0.4])
def test_a_causal_window_of_the_channels_output_is_a_second_moment(theta):
    """r_hat has the variance v - theta: unmended, the estimate collapses at a high level."""
    y = normal((1, 160, 160), 11)
    one = latents(y)
    window = Cell(mean.Zero(), variance.CausalWindow(towards="codec"), quantizer.TestChannel())
    sent = window.send(window.prepare(one, 1), theta)
    assert sent.distortion / y.numel() == pytest.approx(theta, rel=0.1)
    above = sent.bits / y.numel() - gaussian_rate(1.0, sent.distortion / y.numel())
    assert 0 < above < 0.06  # what estimating a known variance from 16 elements costs


def test_weights_of_one_change_nothing():
    one = latents(normal((3, 20, 20)) * 3, scale=3.0)
    fit = {("quantizer", "weighted-test-channel"): {"weights": np.ones(3)}}
    cube = evaluate(one, ["zero"], ["codec"], ["test-channel", "weighted-test-channel"], fits=fit)
    np.testing.assert_allclose(
        cube["bits"].values.ravel()[0], cube["bits"].values.ravel()[1], rtol=1e-12
    )


def test_where_errors_are_free_nothing_is_sent():
    quantizer, y = WeightedTestChannel(), 3 * normal((2, 30, 30), 9)
    cell = Cell(mean.Zero(), variance.Codec(), quantizer)
    levels = []
    for weight in (0.0, 1e-30):
        quantizer.use({"weights": np.array([2.0, weight])})
        cell.weights = quantizer.weights
        prepared = cell.prepare(latents(y, scale=3.0))
        levels.append(cell.matched_level([prepared]))
        sent = cell.send(prepared, levels[-1])
        assert math.isfinite(sent.distortion) and (sent.y_hat[1] == 0).all()
    assert levels[0] == pytest.approx(levels[1], rel=1e-9)


def test_weights_fill_water_where_errors_cost_little():
    """Closed form: theta_c = theta / w_c, and the rate is sum 1/2 log2(v_c / theta_c)."""
    v, w = torch.tensor([4.0, 9.0, 25.0]).double(), torch.tensor([0.5, 1.0, 1.5]).double()
    y = normal((3, 200, 200), 8)
    y = y / y.square().mean((1, 2), keepdim=True).sqrt() * v.sqrt()[:, None, None]
    quantizer = WeightedTestChannel()
    quantizer.use({"weights": w.numpy()})
    one = Latents("a", y, 0 * y, v.sqrt()[:, None, None].expand_as(y))
    cell = Cell(mean.Zero(), variance.Codec(), quantizer)
    prepared = cell.prepare(one)
    sent = cell.send(prepared, 0.1)
    expected = (0.5 * (v * w / 0.1).log2()).sum().item() + 3 * NO_ESCAPE
    assert sent.bits / 40000 == pytest.approx(expected, rel=1e-9)
    assert sent.weighted / 40000 == pytest.approx(3 * 0.1, rel=1e-9)
    level = cell.matched_level([prepared])
    rounded = (w[:, None, None] * (y - y.round()).square()).sum().item()
    assert cell.send(prepared, level).weighted == pytest.approx(rounded, rel=1e-9)


def test_the_gain_is_averaged_over_calibration_images():
    images = [
        Latents("a", torch.zeros(2, 1, 1), None, None, gain=torch.tensor(g))
        for g in ([1.0, 3.0], [3.0, 9.0])
    ]
    assert WeightedTestChannel().fit(images)["weights"].tolist() == [0.5, 1.5]
    with pytest.raises(InputError, match="latents without the decoder's gain"):
        WeightedTestChannel().fit([latents(normal((1, 2, 2)))])


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: mean.LinearCausal(groups=0), "groups 0: allowed are 1, 2, 3"),
        (lambda: variance.CausalWindow(4), "size 4: allowed are 3, 5, 7"),
        (lambda: variance.CausalWindow(weight=0), "weight 0: allowed are positive"),
        (
            lambda: variance.CausalWindow(towards="image"),
            "towards 'image': allowed are channel, codec",
        ),
        (lambda: variance.Block(0), "size 0: allowed are 1, 2, 3"),
    ],
)
def test_bad_settings_are_named(make, message):
    with pytest.raises(InputError, match=message):
        make()


def checkerboard_field(seed):
    """White positions are the mean of their black neighbours, which are independent."""
    y = 20 * normal((2, 32, 32), seed)
    white = torch.arange(32)[:, None].add(torch.arange(32)) % 2 == 1
    around = torch.nn.functional.pad(y, (1, 1, 1, 1))
    mean_of_four = (
        around[:, :-2, 1:-1] + around[:, 2:, 1:-1] + around[:, 1:-1, :-2] + around[:, 1:-1, 2:]
    ) / 4
    return latents(torch.where(white, mean_of_four, y))


@pytest.fixture(scope="module")
def trained():
    estimator = Network(groups=1, width=24, steps=400)
    fit = estimator.fit([checkerboard_field(seed) for seed in range(8)])
    estimator.use(fit)
    return estimator, fit


def test_the_network_learns_what_neighbours_tell(trained):
    one = checkerboard_field(99)
    residual = Cell(trained[0], variance.Codec(), Rounding()).prepare(one).residual
    white = torch.arange(32)[:, None].add(torch.arange(32)) % 2 == 1
    before, after = (values[:, white].square().mean().item() for values in (one.y, residual))
    assert before == pytest.approx(100, rel=0.2) and after < 0.1 * before
    torch.testing.assert_close(residual[:, ~white], one.y[:, ~white], atol=3.0, rtol=0)


def test_the_network_sees_only_what_is_decoded(trained):
    estimator, _ = trained
    cell = Cell(estimator, variance.Codec(), Rounding())
    one = checkerboard_field(5).y
    changed = one.clone()
    changed[:, 3, 4] += 50  # white, decoded last
    first, second = (cell.send(cell.prepare(latents(y)), 1.0).y_hat for y in (one, changed))
    differ = (first != second).nonzero()
    assert set(map(tuple, differ.tolist())) == {(0, 3, 4), (1, 3, 4)}


def test_the_network_begins_as_the_codec():
    estimator = Network(groups=2, width=4, steps=1)
    one = latents(normal((4, 6, 6)), m=0.3)
    fit = estimator.fit([one])
    assert all(np.isfinite(array).all() for array in fit.values())
    fit["4_weight"][:], fit["4_bias"][:] = 0, 0
    estimator.use(fit)
    cells = (Cell(m, variance.Codec(), Rounding()) for m in (estimator, mean.Codec()))
    first, second = (cell.send(cell.prepare(one), 1.0) for cell in cells)
    assert first.bits == pytest.approx(second.bits, rel=1e-12)
