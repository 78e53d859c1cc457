"""Slices of the array bits[image, mean, variance, quantizer]."""


rule measure_gap:
    """Measure rates and distortions along each axis, and along all, from stored latents."""
    input:
        latents=latents_to_match,
        fits=lambda w: fit_files(w, config),
    output:
        **{
            component: f"<results>/{{dataset}}/{{codec}}/q{{quality}}/gaps/{component}/{{shard}}.zarr.zip"
            for component in query.COMPONENTS
        },
    log:
        "<logs>/measure_gap/{dataset}/{codec}/q{quality}/{shard}.log",
    priority: 1
    group:
        shared_submission("shard", with_gpu=True, connected=True)
    conda:
        "../envs/stages.yaml"
    resources:
        mem=ARRAY_MEMORY,
        runtime=run_time(15, 10, gap_cells, shard_to_match),
    params:
        latents=lambda w, input: brace_shards(input.latents),
        spec=lambda w: canonical_json(**query.gap_spec(config)),
        source=lambda w: code_digests(
            "measure_gap", **{axis.section: config[axis.section] for axis in AXES}
        ),
    shell:
        "python -P -m rdpipe measure_gap"
        " --spec {params.spec:q}"
        " --latents {params.latents}"
        " --fits {input.fits:q}"
        " --out {output:q} > {log:q} 2>&1"
