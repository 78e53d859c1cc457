"""Estimators that are fitted on the calibration dataset."""


rule fit_estimator:
    """Fit one estimator on the latents of the calibration images."""
    input:
        latents=lambda w: expand_outputs(
            rules.extract_latents.output.latents,
            dataset=config["calibration"],
            shard=shards(config["calibration"]),
            allow_missing=True,
        ),
        fits=lambda w: fit_files(w, {"means": query.residual_means(config, w.axis)}),
    output:
        "<results>/fits/{codec}/q{quality}/{axis}/{estimator}.zarr.zip",
    log:
        "<logs>/fit_estimator/{codec}/q{quality}/{axis}/{estimator}.log",
    priority: 1
    group:
        shared_submission("fits")
    conda:
        "../envs/stages.yaml"
    resources:
        mem=CODEC_MEMORY,
        runtime=run_time(30, 900),
    params:
        latents=lambda w, input: brace_shards(input.latents),
        spec=lambda w: canonical_json(
            axis=w.axis,
            name=w.estimator,
            entry=config[axis_named(w.axis).section][w.estimator],
            means=query.residual_means(config, w.axis),
        ),
        source=lambda w: code_digests(
            "fit_estimator",
            **{
                "means": query.residual_means(config, w.axis),
                axis_named(w.axis).section: w.estimator,
            },
        ),
    shell:
        "python -P -m rdpipe fit_estimator"
        " --spec {params.spec:q}"
        " --latents {params.latents}"
        " --fits {input.fits:q}"
        " --out {output:q} > {log:q} 2>&1"


rule fit_reconstruction:
    """Fit the reconstruction of one quantizer on the calibration images."""
    input:
        manifest=lambda w: expand_outputs(
            rules.prepare_dataset.output.manifest, dataset=config["calibration"]
        ),
        pack=lambda w: expand_outputs(
            rules.prepare_dataset.output.pack, dataset=config["calibration"]
        ),
        checkpoint=checkpoint_files,
    output:
        "<results>/fits/{codec}/q{quality}/reconstruction/{quantizer}.zarr.zip",
    log:
        "<logs>/fit_reconstruction/{codec}/q{quality}/{quantizer}.log",
    priority: 1
    group:
        shared_submission("reconstructions", with_gpu=True)
    conda:
        "../envs/stages.yaml"
    resources:
        mem=CODEC_MEMORY,
        runtime=run_time(30, 900),
        gpu=gpus(),
    params:
        spec=lambda w: canonical_json(
            dataset=config["calibration"],
            codec=w.codec,
            quality=int(w.quality),
            entry=codec_entry(w.codec),
            device=config["device"],
            **query.reconstruction_spec(config, w.quantizer),
        ),
        source=lambda w: code_digests(
            "fit_reconstruction", query.reconstruction_spec(config, w.quantizer), codecs=w.codec
        ),
    shell:
        "python -P -m rdpipe fit_reconstruction"
        " --spec {params.spec:q}"
        " --manifest_file {input.manifest:q}"
        " --out {output:q} > {log:q} 2>&1"
