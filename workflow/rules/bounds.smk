"""Bound curves, BD-rates and the decomposition over everything measured."""

TABLES = settings.tables(config)
CURVES = settings.curves(config)


rule trace_bounds:
    """Aggregate latents, gaps, simulations and anchors into curves and tables."""
    input:
        images=every_run(rules.extract_latents.output.images, config["codecs"]),
        gaps=every_gap("joint"),
        simulations=every_run(rules.simulate.output, config["codecs"]),
        anchors=every_anchor(rules.run_anchor.output),
        decoded=every_run(rules.read_bitstreams.output) if config["bitstream"] else [],
        references=given(*(table for d in sorted(TABLES) for table in TABLES[d])),
    output:
        bounds="<results>/bounds.zarr.zip",
        points="<results>/bounds.csv",
        bd_rates="<results>/bd_rates.csv",
        decomposition="<results>/decomposition.csv",
        codes="<results>/codes.csv",
        levers="<results>/levers.csv",
    log:
        "<logs>/trace_bounds.log",
    benchmark:
        "<benchmarks>/trace_bounds.jsonl"
    conda:
        "../../environment.yml"
    resources:
        mem=growing("2GB"),
        runtime=growing("1h"),
    params:
        images=lambda w, input: shards_as_one(input.images),
        gaps=lambda w, input: shards_as_one(input.gaps),
        simulations=lambda w, input: shards_as_one(input.simulations),
        anchors=lambda w, input: shards_as_one(input.anchors),
        decoded=lambda w, input: shards_as_one(input.decoded),
        spec=lambda w: canonical(
            limits=config["limits"],
            beside=settings.beside(config),
            references={
                d: {"tables": len(TABLES[d]), "curves": one.get("curves")}
                for d, one in config["references"].items()
            },
            **config["bootstrap"],
        ),
        source=source("trace_bounds"),
    shell:
        "python -m rdpipe trace_bounds --spec {params.spec:q} --images {params.images}"
        " --gaps {params.gaps} --simulations {params.simulations} --anchors {params.anchors}"
        " --decoded {params.decoded} --references {input.references:q} --out {output.bounds:q} --points {output.points:q} --bd_rates {output.bd_rates:q}"
        " --decomposition {output.decomposition:q} --codes {output.codes:q} --levers {output.levers:q} > {log:q} 2>&1"


rule export_curves:
    """Each curve as a file of results in CompressAI's format."""
    input:
        bounds=rules.trace_bounds.output.bounds,
    output:
        expand("<results>/compressai/{curve}.json", curve=CURVES),
    log:
        "<logs>/export_curves.log",
    benchmark:
        "<benchmarks>/export_curves.jsonl"
    conda:
        "../../environment.yml"
    resources:
        mem=growing("1GB"),
        runtime=growing("20m"),
    params:
        spec=lambda w: canonical(curves=list(CURVES.values())),
        source=source("export_curves"),
    shell:
        "python -m rdpipe export_curves --spec {params.spec:q} --bounds {input.bounds:q}"
        " --out {output:q} > {log:q} 2>&1"


TRACED = rules.trace_bounds.output if settings.analysed(config) else []
EXPORTED = rules.export_curves.output if settings.analysed(config) else []
