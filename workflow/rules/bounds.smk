"""Bound curves, BD-rates and the decomposition over everything measured."""


rule trace_bounds:
    """Aggregate latents, gaps, simulations and anchors into curves and tables."""
    input:
        latents=every_run(rules.extract_latents.output, config["codecs"]),
        gaps=every_run(rules.measure_gap.output, component="joint"),
        simulations=every_run(rules.simulate.output, config["codecs"]),
        anchors=every_anchor(rules.run_anchor.output),
        decoded=every_run(rules.read_bitstreams.output) if config["bitstream"] else [],
        references=[config["references"][d]["table"] for d in sorted(config["references"])],
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
        mem="2GB",
        runtime="1h",
    params:
        spec=canonical(
            limits=config["limits"],
            beside=settings.beside(config),
            references={d: one.get("curves") for d, one in config["references"].items()},
            **config["bootstrap"],
        ),
        source=source("trace_bounds"),
    shell:
        "python -m rdpipe trace_bounds --spec {params.spec:q} --latents {input.latents:q}"
        " --gaps {input.gaps:q} --simulations {input.simulations:q} --anchors {input.anchors:q}"
        " --decoded {input.decoded:q} --references {input.references:q} --out {output.bounds:q} --points {output.points:q} --bd_rates {output.bd_rates:q}"
        " --decomposition {output.decomposition:q} --codes {output.codes:q} --levers {output.levers:q} > {log:q} 2>&1"
