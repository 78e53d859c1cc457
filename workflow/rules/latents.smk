"""Latents of every image for every codec."""


rule refine_latents:
    """Refine the latents of a shard for an unmodified decoder; an interrupted job continues."""
    input:
        manifest=rules.prepare_dataset.output.manifest,
        pack=rules.prepare_dataset.output.pack,
        checkpoints=lambda w: checkpoints_of(
            w, query.refinement_spec(config, w.codec, int(w.quality))["neighbors"]
        ),
        fits=lambda w: reconstruction_files(w, query.refinement_cells(config, w.codec)),
    output:
        "<results>/{dataset}/{codec}/q{quality}/refined/{shard}.zarr.zip",
    log:
        "<logs>/refine_latents/{dataset}/{codec}/q{quality}/{shard}.log",
    conda:
        "../envs/stages.yaml"
    resources:
        mem=GRADIENT_MEMORY,
        runtime=run_time(30, 60, refinement_passes, shard),
        gpu=gpus(),
    params:
        spec=lambda w: canonical_json(
            **codec_spec(w),
            **query.refinement_spec(config, w.codec, int(w.quality)),
        ),
        state=subpath(output[0], strip_suffix=".zarr.zip"),
        source=lambda w: code_digests("refine_latents", codecs=w.codec),
    shell:
        "python -P -m rdpipe refine_latents"
        " --spec {params.spec:q}"
        " --manifest_file {input.manifest:q}"
        " --state {params.state:q}.state"
        " --fits {input.fits:q}"
        " --out {output:q} > {log:q} 2>&1"


rule extract_latents:
    """Extract latents and their prediction, real bytes and decoded quality of a shard."""
    input:
        manifest=rules.prepare_dataset.output.manifest,
        pack=rules.prepare_dataset.output.pack,
        checkpoint=checkpoint_files,
        refined=refined_files,
    output:
        images="<results>/{dataset}/{codec}/q{quality}/images/{shard}.zarr.zip",
        latents=temp_unless_kept("<results>/{dataset}/{codec}/q{quality}/latents/{shard}.zarr.zip"),
    log:
        "<logs>/extract_latents/{dataset}/{codec}/q{quality}/{shard}.log",
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
            **codec_spec(w), decoder_gain=query.needs_gain(config, w.dataset)
        ),
        weights=lambda w, input: (
            [] if w.dataset == config["calibration"] else list(map(str, input.checkpoint))
        ),
        source=lambda w: code_digests("extract_latents", codecs=w.codec),
    shell:
        "python -P -m rdpipe extract_latents"
        " --spec {params.spec:q}"
        " --manifest_file {input.manifest:q}"
        " --refined {input.refined:q}"
        " --weights {params.weights:q}"
        " --table {output.images:q}"
        " --out {output.latents:q} > {log:q} 2>&1"
