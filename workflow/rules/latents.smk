"""Latents of every image under every codec."""


rule extract_latents:
    """Latents, their prediction, real bytes and decoded quality of every image of a shard."""
    input:
        manifest=rules.prepare_dataset.output,
        checkpoint=checkpoint,
    output:
        images="<results>/{dataset}/{codec}/q{quality}/images/{shard}.zarr.zip",
        latents=raw("<results>/{dataset}/{codec}/q{quality}/latents/{shard}.zarr.zip"),
    log:
        "<logs>/extract_latents/{dataset}/{codec}/q{quality}/{shard}.log",
    benchmark:
        "<benchmarks>/extract_latents/{dataset}/{codec}/q{quality}/{shard}.jsonl"
    conda:
        "../../environment.yml"
    resources:
        mem=growing("4GB"),
        runtime=growing("2h"),
        gpu=1 if config["device"].startswith("cuda") else 0,
    params:
        spec=lambda w: canonical(
            **codec_spec(w), decoder_gain=settings.asks_for_gain(config, w.dataset)
        ),
        source=source("extract_latents", "codecs"),
    shell:
        "python -m rdpipe extract_latents --spec {params.spec:q}"
        " --manifest_file {input.manifest:q} --table {output.images:q}"
        " --out {output.latents:q} > {log:q} 2>&1"
