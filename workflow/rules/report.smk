"""The page and its figures, for all datasets and codecs of the config."""

FIGURES = "answer bounds savings decomposition gaps water calibration residuals maps".split()


rule make_report:
    """Write one self-contained page, and its figures."""
    input:
        bounds=rules.trace_bounds.output.bounds,
        images=every_run(rules.extract_latents.output.images),
        gaps=[
            file
            for component, axis in query.COMPONENTS.items()
            if axis
            for file in every_matched(rules.measure_gap.output[component])
        ],
        maps=every_run(rules.map_latents.output),
        manifests=expand_outputs(
            rules.prepare_dataset.output.manifest, dataset=sorted(config["datasets"])
        ),
    output:
        page=report("<results>/report.html", caption="../report/page.rst", category="Report"),
        figures=[
            report(
                f"<results>/figures/{dataset}/{codec}/{figure}.{suffix}",
                caption=f"../report/{figure}.rst",
                category="Figures",
                subcategory=f"{codec} on {dataset}",
                labels={"figure": figure, "file": suffix},
            )
            for dataset in query.measured_datasets(config)
            for codec in query.analyzed_codecs(config)
            for figure in FIGURES
            for suffix in ["svg", "pdf", "png", "csv"]
        ],
        labels="<results>/labels.json",
    log:
        "<logs>/make_report.log",
    group:
        shared_submission("report")
    conda:
        "../envs/stages.yaml"
    resources:
        mem=scale_with_attempt(lambda w: f"{1500 + table_rows() // 5}MB"),
        runtime=scale_with_attempt(lambda w: f"{20 + table_rows() // 30}m"),
    params:
        images=lambda w, input: brace_shards(input.images),
        gaps=lambda w, input: brace_shards(input.gaps),
        maps=lambda w, input: brace_shards(input.maps),
        # a function, because commands of external programs have braces, which are not wildcards
        spec=lambda w: canonical_json(config=config),
        # derived from the output, and so not compared: another name of the config is no other page
        origin=lambda w, output: canonical_json(**run_origin()),
        source=code_digests("make_report"),
    shell:
        "python -P -m rdpipe make_report"
        " --spec {params.spec:q}"
        " --bounds {input.bounds:q}"
        " --images {params.images}"
        " --gaps {params.gaps}"
        " --maps {params.maps}"
        " --manifests {input.manifests:q}"
        " --origin {params.origin:q}"
        " --figures {output.figures:q}"
        " --labels {output.labels:q}"
        " --out {output.page:q} > {log:q} 2>&1"


REPORT = rules.make_report.output if query.analyzed_codecs(config) else []
