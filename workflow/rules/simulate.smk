"""Cells of the array through the codec's decoder."""


rule simulate:
    """Simulate the rate of cells at the quality of the codec's own pictures."""
    input:
        manifest=rules.prepare_dataset.output.manifest,
        pack=rules.prepare_dataset.output.pack,
        checkpoint=checkpoint_files,
        refined=refined_files_to_match,
        latents=latents_to_match,
        fits=lambda w: fit_files(w, query.simulation_spec(config, w.codec))
        + reconstruction_files(w, query.simulated_cells(config, w.codec)),
    output:
        "<results>/{dataset}/{codec}/q{quality}/simulation/{shard}.zarr.zip",
    log:
        "<logs>/simulate/{dataset}/{codec}/q{quality}/{shard}.log",
    priority: 1
    group:
        shared_submission("shard", with_gpu=True, connected=True)
    conda:
        "../envs/stages.yaml"
    resources:
        mem=CODEC_MEMORY,
        runtime=run_time(
            15, 60, lambda w: len(query.simulated_cells(config, w.codec)), shard_to_match
        ),
        gpu=gpus(),
    params:
        refined=lambda w, input: brace_shards(input.refined),
        latents=lambda w, input: brace_shards(input.latents),
        spec=lambda w: canonical_json(
            **{**codec_spec(w), "shard": shard_to_match(w)},
            **query.simulation_spec(config, w.codec),
        ),
        source=lambda w: code_digests(
            "simulate", query.simulation_spec(config, w.codec), codecs=w.codec
        ),
    shell:
        "python -P -m rdpipe simulate"
        " --spec {params.spec:q}"
        " --manifest_file {input.manifest:q}"
        " --refined {params.refined}"
        " --latents {params.latents}"
        " --fits {input.fits:q}"
        " --out {output:q} > {log:q} 2>&1"
