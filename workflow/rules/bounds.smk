"""Bound curves, BD-rates and the decomposition over all measurements."""

TABLES = query.reference_tables(config)
CURVES = query.exported_curves(config)


rule trace_bounds:
    """Aggregate latents, gaps, simulations and baselines into curves and tables."""
    input:
        images=every_run(rules.extract_latents.output.images, config["codecs"]),
        gaps=every_matched(rules.measure_gap.output.joint),
        variances=every_matched(rules.measure_gap.output.variance),
        contexts=every_matched(rules.measure_gap.output.context),
        simulations=every_matched(rules.simulate.output, config["codecs"]),
        baselines=every_baseline(rules.run_baseline.output),
        decoded=(
            every_run(rules.read_bitstreams.output, query.coded_codecs(config))
            if config["bitstream"]
            else []
        ),
        refined=every_run(
            rules.refine_latents.output,
            {name: config["codecs"][name] for name in query.refined_codecs(config)},
        ),
        references=user_files(*(table for d in sorted(TABLES) for table in TABLES[d])),
    output:
        bounds="<results>/bounds.zarr.zip",
        points="<results>/bounds.csv",
        bd_rates="<results>/bd_rates.csv",
        image_bd_rates="<results>/image_bd_rates.csv",
        decomposition="<results>/decomposition.csv",
        codes="<results>/codes.csv",
        ladder="<results>/ladder.csv",
        latent_matched="<results>/latent_matched.csv",
        context="<results>/context.csv",
    log:
        "<logs>/trace_bounds.log",
    group:
        shared_submission("report")
    conda:
        "../envs/stages.yaml"
    resources:
        mem=scale_with_attempt(lambda w: f"{1000 + table_rows() // 10}MB"),
        runtime=scale_with_attempt(lambda w: f"{30 + table_rows() // 60}m"),
    params:
        images=lambda w, input: brace_shards(input.images),
        gaps=lambda w, input: brace_shards(input.gaps),
        variances=lambda w, input: brace_shards(input.variances),
        contexts=lambda w, input: brace_shards(input.contexts),
        simulations=lambda w, input: brace_shards(input.simulations),
        baselines=lambda w, input: brace_shards(input.baselines),
        decoded=lambda w, input: brace_shards(input.decoded),
        refined=lambda w, input: brace_shards(input.refined),
        spec=lambda w: canonical_json(
            limits=config["limits"],
            attached=query.attached_codecs(config),
            references={
                dataset: {"tables": len(TABLES[dataset]), "curves": entry.get("curves")}
                for dataset, entry in config["references"].items()
            },
        ),
        source=code_digests("trace_bounds"),
    shell:
        "python -P -m rdpipe trace_bounds"
        " --spec {params.spec:q}"
        " --images {params.images}"
        " --gaps {params.gaps}"
        " --variances {params.variances}"
        " --contexts {params.contexts}"
        " --simulations {params.simulations}"
        " --baselines {params.baselines}"
        " --decoded {params.decoded}"
        " --refined {params.refined}"
        " --references {input.references:q}"
        " --out {output.bounds:q}"
        " --points {output.points:q}"
        " --bd_rates {output.bd_rates:q}"
        " --image_bd_rates {output.image_bd_rates:q}"
        " --decomposition {output.decomposition:q}"
        " --codes {output.codes:q}"
        " --ladder {output.ladder:q}"
        " --latent_matched {output.latent_matched:q}"
        " --context {output.context:q} > {log:q} 2>&1"


rule export_curves:
    """Write each curve as a file of results in CompressAI's format."""
    input:
        bounds=rules.trace_bounds.output.bounds,
    output:
        expand("<results>/compressai/{curve}.json", curve=CURVES),
    log:
        "<logs>/export_curves.log",
    group:
        shared_submission("report")
    conda:
        "../envs/stages.yaml"
    resources:
        mem=scale_with_attempt("1GB"),
        runtime=scale_with_attempt("20m"),
    params:
        spec=lambda w: canonical_json(curves=list(CURVES.values())),
        source=code_digests("export_curves"),
    shell:
        "python -P -m rdpipe export_curves"
        " --spec {params.spec:q}"
        " --bounds {input.bounds:q}"
        " --out {output:q} > {log:q} 2>&1"


BOUNDS = rules.trace_bounds.output if query.analyzed_codecs(config) else []
EXPORTED = rules.export_curves.output if query.analyzed_codecs(config) else []
