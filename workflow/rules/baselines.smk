"""Classical codecs on the same images."""


rule run_baseline:
    """Measure real bytes and decoded quality of one classical codec at one quality."""
    input:
        manifest=rules.prepare_dataset.output.manifest,
        pack=rules.prepare_dataset.output.pack,
    output:
        "<results>/{dataset}/baselines/{baseline}/q{quality}/{shard}.zarr.zip",
    log:
        "<logs>/run_baseline/{dataset}/{baseline}/q{quality}/{shard}.log",
    group:
        shared_submission("baselines")
    conda:
        "../envs/stages.yaml"
    resources:
        mem=ARRAY_MEMORY,
        runtime=run_time(10, 30, slowness_of_baseline, shard),
    params:
        spec=lambda w: canonical_json(
            dataset=w.dataset,
            baseline=w.baseline,
            quality=int(w.quality),
            entry=config_entry("baselines", w.baseline),
            shard=shard(w),
        ),
        source=lambda w: code_digests("run_baseline", baselines=w.baseline),
    shell:
        "python -P -m rdpipe run_baseline"
        " --spec {params.spec:q}"
        " --manifest_file {input.manifest:q}"
        " --out {output:q} > {log:q} 2>&1"
