"""Where in the picture, and in which channels, bits and gaps lie."""


rule map_latents:
    """Bits of the codec and of its limits at every position and channel; small pictures."""
    input:
        manifest=rules.prepare_dataset.output,
        checkpoint=checkpoint,
        latents=rules.extract_latents.output.latents,
        joint=lambda w: expand(
            rules.measure_gap.output,
            component="joint",
            shard=0 if config["matching"] == "dataset" else w.shard,
            allow_missing=True,
        ),
        fits=lambda w: fits(w, settings.limit_axes(config)),
    output:
        "<results>/{dataset}/{codec}/q{quality}/maps/{shard}.zarr.zip",
    log:
        "<logs>/map_latents/{dataset}/{codec}/q{quality}/{shard}.log",
    benchmark:
        "<benchmarks>/map_latents/{dataset}/{codec}/q{quality}/{shard}.jsonl"
    conda:
        "../../environment.yml"
    priority: 1
    resources:
        mem=growing("4GB"),
        runtime=growing("4h"),
        gpu=1 if config["device"].startswith("cuda") else 0,
    params:
        spec=lambda w: canonical(
            **codec_spec(w),
            **settings.limit_axes(config),
            limits=config["limits"],
            seed=config["seed"],
        ),
        source=source("map_latents", "codecs", "means", "variances", "quantizers"),
    shell:
        "python -m rdpipe map_latents --spec {params.spec:q} --manifest_file {input.manifest:q}"
        " --latents {input.latents:q} --joint {input.joint:q} --fits {input.fits:q}"
        " --out {output:q} > {log:q} 2>&1"
