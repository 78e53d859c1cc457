"""Positions and channels where the bits and the gaps are."""


rule map_latents:
    """Map the bits of the codec and of its limits by position and channel; write small images."""
    input:
        manifest=rules.prepare_dataset.output.manifest,
        pack=rules.prepare_dataset.output.pack,
        checkpoint=checkpoint_files,
        refined=refined_files,
        latents=rules.extract_latents.output.latents,
        joint=lambda w: expand_outputs(
            rules.measure_gap.output.joint,
            shard=0 if MATCHES_DATASET else w.shard,
            allow_missing=True,
        ),
        fits=lambda w: fit_files(w, query.limit_entries(config))
        + reconstruction_files(w, query.limit_cells(config)),
    output:
        "<results>/{dataset}/{codec}/q{quality}/maps/{shard}.zarr.zip",
    log:
        "<logs>/map_latents/{dataset}/{codec}/q{quality}/{shard}.log",
    priority: 1
    group:
        shared_submission("shard", with_gpu=True, connected=True)
    conda:
        "../envs/stages.yaml"
    resources:
        mem=CODEC_MEMORY,
        runtime=run_time(15, 300, part=shard),
        gpu=gpus(),
    params:
        spec=lambda w: canonical_json(
            **codec_spec(w),
            **query.limit_entries(config),
            limits=config["limits"],
            seed=config["seed"],
        ),
        source=lambda w: code_digests("map_latents", query.limit_entries(config), codecs=w.codec),
    shell:
        "python -P -m rdpipe map_latents"
        " --spec {params.spec:q}"
        " --manifest_file {input.manifest:q}"
        " --refined {input.refined:q}"
        " --latents {input.latents:q}"
        " --joint {input.joint:q}"
        " --fits {input.fits:q}"
        " --out {output:q} > {log:q} 2>&1"
