"""Estimators that are fitted on a data set of their own."""


rule fit_estimator:
    """What one estimator finds in the latents of the calibration images."""
    input:
        latents=lambda w: expand(
            rules.extract_latents.output.latents,
            dataset=config["calibration"],
            shard=shards(config["calibration"]),
            allow_missing=True,
        ),
        fits=lambda w: fits(w, settings.means_of(config, w.axis)),
    output:
        "<results>/fits/{codec}/q{quality}/{axis}/{estimator}.zarr.zip",
    log:
        "<logs>/fit_estimator/{codec}/q{quality}/{axis}/{estimator}.log",
    benchmark:
        "<benchmarks>/fit_estimator/{codec}/q{quality}/{axis}/{estimator}.jsonl"
    conda:
        "../../environment.yml"
    priority: 1
    resources:
        mem=growing("4GB"),
        runtime=growing("2h"),
    params:
        latents=lambda w, input: shards_as_one(input.latents),
        spec=lambda w: canonical(
            axis=w.axis,
            name=w.estimator,
            entry=config[settings.AXES[w.axis]][w.estimator],
            **settings.means_of(config, w.axis),
        ),
        source=source("fit_estimator", "means", "variances", "quantizers"),
    shell:
        "python -m rdpipe fit_estimator --spec {params.spec:q} --latents {params.latents}"
        " --fits {input.fits:q} --out {output:q} > {log:q} 2>&1"
