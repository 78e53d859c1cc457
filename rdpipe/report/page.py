"""The page: one self-contained HTML file."""

from __future__ import annotations

import base64
import gzip
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup, escape
from plotly.offline import get_plotlyjs

from rdpipe.core.axes import CellId
from rdpipe.core.kinds import BoundKind, CurveRole
from rdpipe.evaluation.content import SQUARE
from rdpipe.report import answer, known, ladder_text, latent_matched_text, trust_text
from rdpipe.report.cards import cards
from rdpipe.report.common_range import bd_rate_rows, of_measure, other_measures
from rdpipe.report.context_text import context_content
from rdpipe.report.dominant_text import dominant_sentences
from rdpipe.report.figures import FIGURES
from rdpipe.report.frames import Limits
from rdpipe.report.overview import overview
from rdpipe.report.payload import drawn_measures, run_payload, to_json
from rdpipe.report.rows import (
    content_rows,
    gap_rows,
    image_rows,
    limit_rows,
    second_moment_check,
    variance_split,
)
from rdpipe.report.savings import column_of
from rdpipe.report.style import COLORS, LIGHTER, SHOWN, TERM_COLORS
from rdpipe.report.words import (
    ASSUMPTIONS,
    GLOSSARY,
    KINDS,
    LATENT_MATCHED,
    MEASURE_NAMES,
    ON_THE_PAGE,
    TERMS,
    range_text,
    without_sign_of_zero,
)

TEMPLATES = Path(__file__).parent / "template"
"""Folder of the templates, scripts and styles."""
RunTables = Mapping[str, pd.DataFrame]
"""Tables of one codec on one dataset, by name."""


def run_content(dataset: str, codec: str, tables: RunTables, limits: Limits) -> dict[str, Any]:
    """Return what the page says about one codec on one dataset.

    Parameters
    ----------
    dataset, codec : str
        Names to show.
    tables : mapping of str to DataFrame
        ``points``, ``image_points``, ``bd_rates``, ``available``, ``earned``, ``decomposition``,
        ``ladder``, ``latent_decomposition``, ``latent_matched``, ``context``, ``image_terms``,
        ``codes``, ``gaps``, ``latents``, ``channels``, ``calibration`` and ``residuals`` of this
        dataset and codec.
    limits : mapping of str to CellId
        The limits, in the order in which the page lists them.
    """
    points, terms = tables["points"], tables["latent_decomposition"]
    names = list(terms["limit"].unique())
    measure = answer.common_measure(tables["ladder"])
    codec_points = points[points["role"] == CurveRole.CODEC]
    published = points[points["role"] == CurveRole.PUBLISHED]
    return {
        "dataset": dataset,
        "codec": codec,
        "measure": MEASURE_NAMES[measure],
        "other_measures": [MEASURE_NAMES[name] for name in other_measures(measure)],
        "drawn_measures": {
            column_of(name): MEASURE_NAMES[name]
            for name in sorted(drawn_measures(points), key=measure.__ne__)
        },
        "images": int(points["images"].iloc[0]),
        "bpp": range_text(codec_points["bpp"]),
        "psnr": range_text(codec_points["psnr"], ".2f"),
        "qualities": [int(quality) for quality in terms["quality"].unique()],
        "overview": overview(
            codec_points, of_limit(tables["ladder"], names[0]), tables["codes"], tables["available"]
        ),
        "cards": cards(
            of_limit(tables["ladder"], names[0]),
            tables["earned"],
            tables["available"],
            tables["latents"],
            measure,
        ),
        "equal_picture": [
            ladder_text.answer_sentence(of_limit(tables["ladder"], names[0])),
            answer.bound_sentence(tables["bd_rates"], measure),
            answer.lever_sentence(tables["bd_rates"], measure),
            answer.earned_sentence(tables["earned"], measure),
            answer.available_sentence(tables["available"], measure),
        ],
        "warnings": dominant_sentences(tables["image_points"]),
        "summary": answer.equal_picture_summary(tables["bd_rates"], tables["available"], measure),
        "ladders": [ladder_content(name, tables) for name in names],
        "terms_in_words": terms_in_words(terms, limits),
        "unreached": points[points["bpp"].isna()][["label", "quality"]].to_dict("records"),
        "points": points.to_dict("records"),
        "bd_rates": bd_rate_rows(tables["bd_rates"], measure),
        "sources": published.drop_duplicates("curve").to_dict("records"),
        "limits": [limit_content(name, tables, limits[name], measure) for name in names],
        "gaps": gap_rows(tables["gaps"]),
        "content": content_rows(tables["content"]),
        "context": context_content(tables["context"]),
        "second_moment": second_moment_check(tables["gaps"]),
        "variance": variance_split(tables["gaps"]),
        "codes": tables["codes"].replace({"matched_at": MEASURE_NAMES}).to_dict("records"),
        "trust": [
            trust_text.bytes_sentence(tables["codes"]),
            trust_text.images_sentence(int(points["images"].iloc[0])),
        ],
        "per_image": image_rows(tables["latents"], tables["image_terms"], names),
        "payload": {"title": f"{codec} on {dataset}", **run_payload(tables, limits, measure)},
    }


def of_limit(table: pd.DataFrame, limit: str) -> pd.DataFrame:
    """Return the rows of one limit."""
    return table[table["limit"] == limit]


def ladder_content(limit: str, tables: RunTables) -> dict[str, Any]:
    """Return the ladder to one limit, and the terms at equal pictures."""
    ladder = of_limit(tables["ladder"], limit)
    return {
        "name": limit,
        "measure": MEASURE_NAMES[ladder["matched_at"].iloc[0]],
        "rungs": ladder_text.ladder_rows(ladder),
        "terms": ladder_text.term_rows(of_limit(tables["decomposition"], limit)),
    }


def terms_in_words(terms: pd.DataFrame, limits: Limits) -> list[dict[str, Any]]:
    """Return a sentence with the latent-matched terms for each quality and limit."""
    paper = terms[terms["order"] == "paper"]
    return [
        {
            "quality": quality,
            "limit": limit,
            "text": f"To the limit: {latent_matched_text.to_limit(panel, limits[limit])}",
        }
        for (quality, limit), panel in paper.groupby(["quality", "limit"], sort=False)
    ]


def limit_content(limit: str, tables: RunTables, cell: CellId, measure: str) -> dict[str, Any]:
    """Return the sentences, the summary for the comparison and the table of one limit."""
    decomposition, bd_rates, changes = (
        tables[name] for name in ("latent_decomposition", "bd_rates", "latent_matched")
    )
    terms = decomposition[decomposition["limit"] == limit]
    changes = changes[changes["limit"] == limit]
    total = terms[(terms["term"] == "total") & (terms["order"] == "paper")]["bpp"]
    rates = of_measure(bd_rates, measure)
    limit_rates = rates[rates["curve"] == str(cell)]["bd_rate"]
    kind = BoundKind.parse(terms["kind"].iloc[0])
    return {
        "name": limit,
        "cell": str(cell),
        "genie": kind is BoundKind.GENIE_AIDED,
        "equal_picture": answer.limit_sentence(bd_rates, cell, measure),
        "bd_rate": limit_rates.iloc[0] if len(limit_rates) else None,
        "change": latent_matched_text.change_sentence(changes),
        "genie_warning": latent_matched_text.genie_sentence(decomposition, limit),
        "curve": latent_matched_text.over_the_curve(tables["points"], terms, limit),
        "summary": latent_matched_text.change_summary(changes),
        "ratio": range_text(terms["latent_mse_ratio"]),
        "total": range_text(total),
        **limit_rows(terms),
    }


def compressed(source: str) -> str:
    """Return a text as base64 of gzip, which the page unpacks: two fifths of a script's length."""
    return base64.b64encode(gzip.compress(source.encode(), mtime=0)).decode()


def render(
    runs: Sequence[Mapping[str, Any]],
    pictures: Sequence[Mapping[str, Any]],
    datasets: Mapping[str, Mapping[str, Any]],
    config: Mapping[str, Any],
    provenance: Mapping[str, Any],
) -> str:
    """Return the page as HTML. All text from outside is escaped.

    Parameters
    ----------
    runs : sequence of mapping
        From :func:`run_content`, each with the ``folder`` of its figures.
    pictures : sequence of mapping
        For each run, from :func:`rdpipe.report.pictures.collect`.
    datasets : mapping
        Manifests by name, each with the ``remarks`` on its images.
    config : mapping
        The complete config.
    provenance : mapping
        ``command``, ``commit``, ``machine``, ``versions`` and ``times``.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
        finalize=lambda value: without_sign_of_zero(value) if type(value) is str else value,
    )
    runs = [{**run, "index": index} for index, run in enumerate(runs)]
    limits = list(config["limits"])
    data = {
        "runs": [run["payload"] for run in runs],
        "termColors": TERM_COLORS,
        "colors": COLORS,
        "lighter": LIGHTER,
        "compared": str(CellId.from_mapping(config["limits"][limits[0]])),
    }
    return environment.get_template("page.html.j2").render(
        title=" and ".join(f"{run['codec']} on {run['dataset']}" for run in runs),
        runs=runs,
        limits=limits,
        data=Markup(to_json(data)),
        pictures=[compressed(to_json(picture)) for picture in pictures],
        plotly=compressed(get_plotlyjs()),
        known=known.tables(),
        verdict=trust_text.verdict(known.tables()["checks"]),
        datasets=datasets,
        config=config,
        yaml=escape(yaml.safe_dump(config, sort_keys=True)),  # verbatim: a str would be finalized
        provenance={**provenance, "command": escape(provenance["command"])},
        figures=list(FIGURES),
        GENIE_AIDED=BoundKind.GENIE_AIDED,
        TERMS=TERMS,
        KINDS=KINDS,
        SHOWN=SHOWN,
        SQUARE=SQUARE,
        LIGHTER=f"{LIGHTER:.0%}",
        ASSUMPTIONS=ASSUMPTIONS,
        EXPLAINED={name: GLOSSARY[name] for name in ON_THE_PAGE},
        LATENT_MATCHED=LATENT_MATCHED,
    )
