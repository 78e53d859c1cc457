"""The ladder and the terms over the curve, on simulations whose rates are fixed shares."""

import itertools

import numpy as np
import pytest
import xarray as xr
from small_curves import make_curve

from rdpipe.analysis.bd_rate import Points, compare
from rdpipe.analysis.curve_terms import curve_terms
from rdpipe.analysis.ladder import RefinedRun, ladder_frame, rungs
from rdpipe.analysis.log_rate import log_rate
from rdpipe.core.axes import CellId, corners
from rdpipe.core.kinds import BoundKind, CurveRole, Reconstruction
from rdpipe.core.metrics import psnr

IMAGES = list("abcd")
PIXELS = np.array([100, 200, 100, 400])
QUALITIES = (1, 2, 3)
LIMIT = CellId("linear-causal", "calibrated", "test-channel", Reconstruction.CALIBRATED)
LABELS = {"dataset": "d", "codec": "c", "limit": "l", "matched_at": "psnr"}
SECONDS = {"better": 12.5}
"""Seconds per megapixel that the refinement of a codec takes."""
SIDE = 0.1
"""Share of side information in the model's bits."""


def bits_of(quality):
    """Bits of the codec's model, of each image."""
    spread = np.array([1.0, 1.3, 0.7, 1.1])
    return 50.0 * 2**quality * spread * PIXELS / 100


def make_run():
    return {
        q: xr.Dataset(
            {
                "bytes": ("image", 1.02 * bits_of(q) / 8),
                "latent_bits": ("image", (1 - SIDE) * bits_of(q)),
                "side_bits": ("image", SIDE * bits_of(q)),
                "pixels": ("image", PIXELS),
                "mse": ("image", 80.0 / 2**q * np.array([1.0, 1.2, 0.9, 1.1])),
                "ms_ssim": ("image", np.full(4, 0.95)),
                "real": ("image", np.full(4, True)),
            },
            {"image": IMAGES},
        )
        for q in QUALITIES
    }


def make_simulations(shares):
    """Return cells whose bits are shares of the codec's, by the axes that are moved."""
    cells = corners(LIMIT)
    return {
        q: xr.Dataset(
            {
                "bits": (
                    ("curve", "image"),
                    [shares(moved, q) * (1 - SIDE) * bits_of(q) for moved in cells],
                )
            },
            {
                "curve": [str(cell) for cell in cells.values()],
                "image": IMAGES,
                "includes_side": ("curve", [True] * len(cells)),
                "kind": ("curve", [kind_of(cell) for cell in cells.values()]),
                "measure": "psnr",
            },
        )
        for q in QUALITIES
    }


def kind_of(cell):
    channel = cell.quantizer == "test-channel"
    return str(BoundKind.UPPER_BOUND if channel else BoundKind.ACHIEVABLE)


def shares(moved, quality):
    """Every axis saves by itself; mean and quantizer together save less."""
    each = {"variance": 0.98, "mean": 0.95, "quantizer": 0.85 + 0.01 * quality}
    product = np.prod([each[axis] for axis in moved])
    return product * (1.02 if {"mean", "quantizer"} <= moved else 1.0)


@pytest.fixture
def ladder():
    steps = rungs(make_run(), make_simulations(shares), LIMIT)
    return ladder_frame(LABELS, steps, QUALITIES)


def test_rungs_change_one_thing_each(ladder):
    curve = ladder[ladder["quality"].isna()]
    assert curve["term"].tolist() == [
        "",
        "coder",
        "prior",
        "variance",
        "context",
        "quantization",
    ]
    assert curve["name"].tolist()[2:] == [
        "codec/codec/rounding",
        "codec/calibrated/rounding",
        "linear-causal/calibrated/rounding",
        "linear-causal/calibrated/test-channel/calibrated",
    ]
    assert curve["kind"].iloc[0] == BoundKind.ACHIEVED
    assert curve["kind"].iloc[-1] == BoundKind.UPPER_BOUND


def test_rate_of_a_codec_without_a_bitstream_is_a_code_length():
    assert rungs(make_run(), make_simulations(lambda *_: 1.0), LIMIT)[0].name == "real bytes"
    run = {q: table.assign(real=~table["real"]) for q, table in make_run().items()}
    first = rungs(run, make_simulations(lambda *_: 1.0), LIMIT)[0]
    assert first.name == "code length" and first.kind is BoundKind.ACHIEVABLE


def test_rungs_add_up(ladder):
    """Bits per quality, and logarithms over the curve; per cent multiply."""
    for quality in QUALITIES:
        rows = ladder[ladder["quality"] == quality]
        saved = rows["bpp"].iloc[0] - rows["bpp"].iloc[-1]
        assert rows["saved"].sum() == pytest.approx(saved, abs=1e-12)
        total = rows["bpp"] / rows["bpp"].iloc[0] - 1
        assert rows["total"].tolist() == pytest.approx((100 * total).tolist(), abs=1e-12)
    curve = ladder[ladder["quality"].isna()]
    changes = (1 + curve["change"].iloc[1:] / 100).prod()
    assert changes == pytest.approx(1 + curve["total"].iloc[-1] / 100, abs=1e-12)


def test_rung_is_the_bd_rate_of_its_curve(ladder):
    """Against another library's integral, which interpolates otherwise."""
    curve = ladder[ladder["quality"].isna()]
    points = ladder[ladder["quality"].notna()]
    quality = np.array([psnr(table["mse"].values).mean() for table in make_run().values()])
    first, last = (
        Points(points[points["rung"] == rung]["bpp"].to_numpy(), quality) for rung in (0, 5)
    )
    assert curve["total"].iloc[-1] == pytest.approx(compare(first, last).value, abs=0.05)


def test_fixed_share_has_no_spread(ladder):
    """The variance saves 2 % of the latents' bits on every image, in every paired interval."""
    row = ladder[ladder["quality"].isna() & (ladder["term"] == "variance")].iloc[0]
    expected = -100 * 0.02 * (1 - SIDE)
    assert [row["change"], row["change_low"], row["change_high"]] == pytest.approx([expected] * 3)
    point = ladder[(ladder["quality"] == 2) & (ladder["term"] == "prior")].iloc[0]
    total = [point["total"], point["total_low"], point["total_high"]]
    assert total == pytest.approx([100 * (1 / 1.02 - 1)] * 3)


def test_estimator_that_saves_nothing_is_left_out_with_a_remark():
    def worse(moved, quality):
        return shares(moved, quality) * (1.1 if "variance" in moved else 1.0)

    steps = rungs(make_run(), make_simulations(worse), LIMIT)
    by_term = {rung.term: rung for rung in steps}
    assert by_term["variance"].name == "codec/codec/rounding"
    assert by_term["variance"].remark.startswith("codec/calibrated/rounding would need +7.")
    assert by_term["quantization"].name == "linear-causal/codec/test-channel/calibrated"


def test_axis_of_the_codec_is_not_measured():
    limit = LIMIT.replace(mean="codec")
    steps = rungs(make_run(), make_simulations(shares), limit)
    context = next(rung for rung in steps if rung.term == "context")
    assert context.remark == "not measured: the limit has the codec's own"
    terms = curve_terms(LABELS, make_run(), make_simulations(shares), limit)
    assert terms[terms["term"] == "context"]["log_rate"].isna().all()


@pytest.mark.parametrize("factor, name", [(0.5, "joint"), (2.0, LIMIT)])
def test_joint_training_is_a_rung_if_it_saves_bits(factor, name):
    run = make_run()
    bits = np.stack([factor * bits_of(q) for q in QUALITIES], 1)
    mse = np.stack([table["mse"].values for table in run.values()], 1)
    labels = {"pixels": PIXELS, "images": np.array(IMAGES), "name": "joint"}
    joint = make_curve(bits, mse, role=CurveRole.JOINT, kind=BoundKind.UPPER_BOUND, **labels)
    *_, last = rungs(run, make_simulations(shares), LIMIT, bounds=[joint])
    assert last.term == "transforms" and last.name == str(name)
    assert bool(last.remark) is (factor == 2.0)


@pytest.mark.parametrize(
    "kind, terms",
    [
        (BoundKind.ACHIEVED, ["context", "decoder", "quantization"]),
        (BoundKind.UPPER_BOUND, ["context", "quantization", "decoder"]),
    ],
)
def test_retuned_decoder_is_a_rung_where_its_kind_belongs(kind, terms):
    """What is available today comes before the test channel, which must save bits against it."""
    bits = np.stack([0.1 * bits_of(q) for q in QUALITIES], 1)
    mse = np.stack([table["mse"].values for table in make_run().values()], 1)
    labels = {"pixels": PIXELS, "images": np.array(IMAGES), "name": "better"}
    curve = make_curve(bits, mse, role=CurveRole.RETUNED, kind=kind, **labels)
    steps = rungs(make_run(), make_simulations(shares), LIMIT, bounds=[curve])
    assert [rung.term for rung in steps[4:]] == terms
    best = steps[4 + terms.index("decoder")]
    assert (best.name, best.kind, best.remark) == ("better", kind, "")
    assert "would need +" in steps[-1].remark or steps[-1] is best


def same_pictures(quality, table, name="mse"):
    """Return a measure of the codec's own pictures for every cell."""
    return (table["bits"].dims, np.broadcast_to(make_run()[quality][name], table["bits"].shape))


def refined_codec(factor):
    """Return the codec with refined latents, whose cells need another number of bits."""
    simulations = {
        q: table.assign(
            bits=factor * table["bits"],
            mse=same_pictures(q, table),
            ms_ssim=same_pictures(q, table, "ms_ssim"),
        )
        for q, table in make_simulations(shares).items()
    }
    return RefinedRun("better", make_run(), simulations)


@pytest.mark.parametrize("factor", [0.9, 1.2])
def test_refined_latents_are_a_rung_between_context_and_quantization(factor):
    steps = rungs(
        make_run(), make_simulations(shares), LIMIT, [refined_codec(factor)], seconds=SECONDS
    )
    assert [rung.term for rung in steps[4:]] == ["context", "encoder", "quantization"]
    name = "better: linear-causal/calibrated/rounding"
    ladder = ladder_frame(LABELS, steps, QUALITIES, {name: 14.0})
    curve = ladder[ladder["quality"].isna()].set_index("term")
    encoder = curve.loc["encoder"]
    assert curve["encoder_seconds"].drop("encoder").isna().all()
    if factor < 1:
        assert encoder["name"] == name
        before = 0.98 * 0.95 * (1 - SIDE)  # of the model's bits; side information stays
        change = (factor * before + SIDE) / (before + SIDE) - 1
        assert encoder["change"] == pytest.approx(100 * change, rel=1e-9)
        assert encoder["encoder_seconds"] == 14.0
        assert encoder["refinement_seconds"] == 12.5
    else:
        assert encoder["change"] == 0 and "would need +" in encoder["remark"]
    total = (1 + curve["change"].iloc[1:] / 100).prod()
    assert total == pytest.approx(1 + curve["total"].iloc[-1] / 100, abs=1e-9)


def test_cell_that_is_not_reached_leaves_the_ladder_where_it_is():
    simulations = make_simulations(shares)
    simulations[2]["bits"].loc[{"curve": "codec/calibrated/rounding", "image": "a"}] = np.nan
    steps = rungs(make_run(), simulations, LIMIT)
    variance = next(rung for rung in steps if rung.term == "variance")
    assert "does not reach the codec's quality" in variance.remark


def test_terms_over_the_curve_add_up_in_every_order():
    terms = curve_terms(LABELS, make_run(), make_simulations(shares), LIMIT)
    for _, table in terms.groupby("order"):
        values = table.set_index("term")["log_rate"]
        assert values.drop("total").sum() == pytest.approx(values["total"], abs=1e-9)
    paper, shapley = (terms[terms["order"] == order] for order in ("paper", "shapley"))
    assert not np.allclose(paper["log_rate"], shapley["log_rate"], atol=1e-4)
    variance = paper[paper["term"] == "variance"].iloc[0]
    assert variance["log_rate"] == pytest.approx(-np.log(0.98 * (1 - SIDE) + SIDE))
    assert variance["log_rate_low"] == pytest.approx(variance["log_rate_high"])


def test_terms_over_the_curve_add_up_if_the_limit_uses_no_side_information():
    """The corners differ in it; the term compares the codec's cell with and without it."""
    simulations = make_simulations(shares)
    used = [cell != str(LIMIT) for cell in simulations[1]["curve"].values]
    simulations = {
        q: table.assign_coords(includes_side=("curve", used)) for q, table in simulations.items()
    }
    terms = curve_terms(LABELS, make_run(), simulations, LIMIT)
    for _, table in terms.groupby("order"):
        values = table.set_index("term")["log_rate"]
        assert values.drop("total").sum() == pytest.approx(values["total"], abs=1e-9)
        assert values["side"] == pytest.approx(-np.log(1 - SIDE))


def test_shapley_is_the_average_over_all_orders_of_the_curve():
    terms = curve_terms(LABELS, make_run(), make_simulations(shares), LIMIT)
    quality = np.array([psnr(table["mse"].values).mean() for table in make_run().values()])

    def log_of(moved):
        bpp = [
            ((shares(frozenset(moved), q) * (1 - SIDE) + SIDE) * bits_of(q) / PIXELS).mean()
            for q in QUALITIES
        ]
        return log_rate(np.array(bpp), quality, quality[0], quality[-1])

    orders = list(itertools.permutations(("variance", "mean", "quantizer")))
    saved = np.mean(
        [
            log_of(order[: order.index("mean")]) - log_of(order[: order.index("mean") + 1])
            for order in orders
        ]
    )
    context = terms[(terms["order"] == "shapley") & (terms["term"] == "context")]
    assert context["log_rate"].item() == pytest.approx(saved, abs=1e-12)


@pytest.mark.parametrize("dB, known", [(0.0, True), (0.005, True), (2.0, False), (-2.0, False)])
def test_single_points_are_compared_at_equal_quality_only(dB, known):
    """A codec with one quality has no curve along which another quality could be compared."""
    single = {1: make_run()[1]}
    refined = refined_codec(0.8)
    mse = refined.simulations[1]["mse"] * 10 ** (dB / 10)
    simulations = {1: refined.simulations[1].assign(mse=mse)}
    moved = refined._replace(run=single, simulations=simulations)
    steps = rungs(single, {1: make_simulations(shares)[1]}, LIMIT, [moved], seconds=SECONDS)
    encoder = steps[5]
    assert encoder.term == "encoder" and bool(encoder.remark) is not known
    ladder = ladder_frame(LABELS, steps, [1])
    assert ladder[ladder["quality"].isna()]["log_rate"].notna().all()


def test_interval_of_an_interpolated_rung_is_that_of_the_interpolated_means():
    """If all images have one rate and one quality, their differences make no interval."""
    run, simulations = make_run(), make_simulations(shares)
    bits = np.stack([0.25 * PIXELS * 2.0**q for q in QUALITIES], 1)  # bpp 2^q / 4
    mse = np.stack([np.full(4, 80.0 / 2**q) for q in QUALITIES], 1)
    labels = {"pixels": PIXELS, "images": np.array(IMAGES), "name": "joint"}
    joint = make_curve(bits, mse, role=CurveRole.JOINT, kind=BoundKind.UPPER_BOUND, **labels)
    steps = rungs(run, simulations, LIMIT, bounds=[joint])
    ladder = ladder_frame(LABELS, steps, QUALITIES)
    row = ladder[(ladder["rung"] == 6) & (ladder["quality"] == 2)].iloc[0]
    target = steps[0].quality[:, 1]
    # ln(rate) of the curve is linear in the PSNR, of slope ln 2 for 10 log10 2 dB
    slope = np.log(2) / (10 * np.log10(2))
    expected = np.exp(slope * (target.mean() - psnr(20.0)))
    assert row["bpp"] == pytest.approx(expected, rel=1e-6)
    half = expected * slope * 3.182446 * target.std(ddof=1) / 2  # t with 3 degrees of freedom
    assert row["bpp_high"] - row["bpp"] == pytest.approx(half, rel=0.02)
