"""The page: one self-contained HTML file."""

from __future__ import annotations

from pathlib import Path

import jinja2
import pandas as pd
import yaml
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rdpipe.core.axes import cell_name
from rdpipe.report import answer, known
from rdpipe.report.figures import FIGURES
from rdpipe.report.payload import run_payload, to_json
from rdpipe.report.rows import gap_rows, image_rows, limit_rows, second_moment_check, variance_split
from rdpipe.report.style import SHOWN
from rdpipe.report.words import ASSUMPTIONS, KINDS, TERMS

TEMPLATES = Path(__file__).parent / "template"


def run_content(
    dataset: str, codec: str, tables: dict[str, pd.DataFrame], cells: dict[str, dict[str, str]]
) -> dict:
    """What the page says about one codec on one data set.

    Parameters
    ----------
    dataset, codec : str
    tables : dict of DataFrame
        ``points``, ``bd_rates``, ``decomposition``, ``levers``, ``savings``, ``image_terms``, ``codes``,
        ``gaps``, ``latents``, ``channels``, ``calibration`` and ``residuals`` of this data set and codec.
    cells : dict of dict
        The limits: ``mean``, ``variance`` and ``quantizer`` of each, in this order.
    """
    points, terms = tables["points"], tables["decomposition"]
    limits = list(terms["limit"].unique())
    own = points[points["curve"] == "codec"]
    paper = terms[terms["order"] == "paper"]
    return {
        "dataset": dataset,
        "codec": codec,
        "images": int(points["images"].iloc[0]),
        "bpp": f"{own['bpp'].min():.3f} to {own['bpp'].max():.3f}",
        "psnr": f"{own['psnr'].min():.2f} to {own['psnr'].max():.2f}",
        "qualities": [int(quality) for quality in terms["quality"].unique()],
        "headlines": [
            {"quality": one.quality, "text": answer.headline(codec, dataset, one)}
            for one in own.itertuples()
        ],
        "answers": [
            {"quality": quality, "limit": limit, "text": f"To the limit: {answer.to_limit(panel, cells[limit])}"}
            for (quality, limit), panel in paper.groupby(["quality", "limit"], sort=False)
        ],
        "unreached": points[points["bpp"].isna()][["curve", "quality"]].to_dict("records"),
        "points": points.to_dict("records"),
        "bd_rates": tables["bd_rates"].to_dict("records"),
        "sources": points[points["source"] != ""].drop_duplicates("curve").to_dict("records"),
        "limits": [limit_content(limit, tables, cells[limit]) for limit in limits],
        "gaps": gap_rows(tables["gaps"]),
        "second_moment": second_moment_check(tables["gaps"]),
        "variance": variance_split(tables["gaps"]),
        "codes": tables["codes"].to_dict("records"),
        "per_image": image_rows(tables["latents"], tables["image_terms"], limits),
        "folder": tables.get("folder", ""),
        "payload": {
            "title": f"{codec} on {dataset}",
            "qualities": [int(quality) for quality in terms["quality"].unique()],
            "levers": tables["levers"].to_dict("records"),
            **run_payload(tables, cells),
        },
    }


def limit_content(limit: str, tables: dict[str, pd.DataFrame], cell: dict[str, str]) -> dict:
    """One limit: its sentences, its summary for the comparison and its table."""
    terms, levers, bd = tables["decomposition"], tables["levers"], tables["bd_rates"]
    terms, levers = (table[table["limit"] == limit] for table in (terms, levers))
    total = terms[(terms["term"] == "total") & (terms["order"] == "paper")]["bpp"]
    own = bd[bd["curve"] == cell_name(cell)]["bd_rate"]
    return {
        "name": limit,
        "cell": cell_name(cell),
        "lever": answer.largest_lever(levers),
        "no_better": answer.no_better(tables["decomposition"], limit),
        "curve": answer.over_the_curve(tables["points"], terms, limit),
        "equal_psnr": answer.at_equal_psnr(bd, cell),
        "summary": answer.summary(levers),
        "total": f"{total.min():.3f} to {total.max():.3f}",
        "bd_rate": own.iloc[0] if len(own) else None,
        **limit_rows(terms),
    }


def render(
    runs: list[dict],
    pictures: list[dict],
    datasets: dict[str, dict],
    config: dict,
    provenance: dict,
) -> str:
    """The page as HTML; everything that comes from outside is escaped.

    Parameters
    ----------
    runs : list of dict
        From :func:`run_content`.
    pictures : list of dict
        Of each run: ``maps`` from :func:`rdpipe.report.pictures.maps_of` by quality, ``originals`` and,
        by quality, ``decoded``: the sources of images.
    datasets : dict of dict
        Manifests by name.
    config : dict
        The complete config.
    provenance : dict
        ``command``, ``commit``, ``machine``, ``versions`` and ``times``.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    runs = [{**run, "index": index} for index, run in enumerate(runs)]
    limits = list(config["limits"])
    data = {
        "runs": [run["payload"] for run in runs],
        "compared": cell_name(config["limits"][limits[0]]),
    }
    return environment.get_template("page.html.j2").render(
        title=" and ".join(f"{run['codec']} on {run['dataset']}" for run in runs),
        runs=runs,
        limits=limits,
        data=Markup(to_json(data)),
        pictures=[Markup(to_json(one)) for one in pictures],
        plotly=Markup(get_plotlyjs()),
        known=known.tables(),
        datasets=datasets,
        config=config,
        yaml=yaml.safe_dump(config, sort_keys=True),
        provenance=provenance,
        figures=list(FIGURES),
        TERMS=TERMS,
        KINDS=KINDS,
        SHOWN=SHOWN,
        ASSUMPTIONS=ASSUMPTIONS,
    )
