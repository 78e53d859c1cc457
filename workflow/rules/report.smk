"""The figures and the page, of whatever data sets and codecs the config has."""

FIGURES = "bounds savings decomposition gaps water calibration residuals maps".split()


rule make_report:
    """One self-contained page, and its figures."""
    input:
        bounds=rules.trace_bounds.output.bounds,
        images=every_run(rules.extract_latents.output.images),
        gaps=[file for component, axis in settings.COMPONENTS.items() if axis for file in every_gap(component)],
        maps=every_run(rules.map_latents.output),
        manifests=expand(rules.prepare_dataset.output, dataset=config["datasets"]),
    output:
        page=report(
            "<results>/report.html", caption="../report/page.rst", category="Report"
        ),
        figures=[
            report(
                f"<results>/figures/{dataset}/{codec}/{figure}.{suffix}",
                caption=f"../report/{figure}.rst",
                category="Figures",
                subcategory=f"{codec} on {dataset}",
                labels={"figure": figure, "file": suffix},
            )
            for dataset in settings.measured(config)
            for codec in settings.analysed(config)
            for figure in FIGURES
            for suffix in ["svg", "pdf", "png", "csv"]
        ],
    log:
        "<logs>/make_report.log",
    benchmark:
        "<benchmarks>/make_report.jsonl"
    conda:
        "../../environment.yml"
    resources:
        mem=growing("2GB"),
        runtime=growing("20m"),
    params:
        images=lambda w, input: shards_as_one(input.images),
        gaps=lambda w, input: shards_as_one(input.gaps),
        maps=lambda w, input: shards_as_one(input.maps),
        spec=lambda w: canonical(**config),  # commands of one's own hold braces, which are no wildcards
        origin=lambda w: canonical(**origin()),
        source=source("make_report"),
    shell:
        "python -m rdpipe make_report --spec {params.spec:q} --bounds {input.bounds:q}"
        " --images {params.images} --gaps {params.gaps} --maps {params.maps}"
        " --manifests {input.manifests:q} --origin {params.origin:q}"
        " --figures {output.figures:q} --out {output.page:q} > {log:q} 2>&1"


REPORT = rules.make_report.output if settings.analysed(config) else []
