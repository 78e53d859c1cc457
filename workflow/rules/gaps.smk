"""Slices of the array bits[image, mean, variance, quantizer]."""


rule measure_gap:
    """Rates and distortions along one axis, or all of them, from stored latents."""
    input:
        latents=lambda w: expand(
            rules.extract_latents.output.latents,
            shard=list(shards(w.dataset)) if config["matching"] == "dataset" else w.shard,
            allow_missing=True,
        ),
        fits=lambda w: fits(w, settings.gap_axes(config, w.component)),
    output:
        "<results>/{dataset}/{codec}/q{quality}/gaps/{component}/{shard}.zarr.zip",
    log:
        "<logs>/measure_gap/{dataset}/{codec}/q{quality}/{component}/{shard}.log",
    benchmark:
        "<benchmarks>/measure_gap/{dataset}/{codec}/q{quality}/{component}/{shard}.jsonl"
    conda:
        "../../environment.yml"
    priority: 1
    resources:
        mem=growing("2GB"),
        runtime=growing("1h"),
    params:
        latents=lambda w, input: shards_as_one(input.latents),
        spec=lambda w: canonical(
            component=w.component, **settings.gap_axes(config, w.component)
        ),
        source=source("measure_gap", "means", "variances", "quantizers"),
    shell:
        "python -m rdpipe measure_gap --spec {params.spec:q} --latents {params.latents}"
        " --fits {input.fits:q} --out {output:q} > {log:q} 2>&1"
