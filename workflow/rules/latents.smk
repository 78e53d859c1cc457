"""Latents of every image under every codec."""


rule extract_latents:
    """Latents, their prediction, real bytes and decoded quality of every image."""
    input:
        manifest=rules.prepare_dataset.output,
        checkpoint=checkpoint,
    output:
        "<results>/{dataset}/{codec}/q{quality}/latents.zarr.zip",
    log:
        "<logs>/extract_latents/{dataset}/{codec}/q{quality}.log",
    benchmark:
        "<benchmarks>/extract_latents/{dataset}/{codec}/q{quality}.jsonl"
    conda:
        "../../environment.yml"
    resources:
        mem=growing("4GB"),
        runtime=growing("2h"),
        gpu=1 if config["device"].startswith("cuda") else 0,
    params:
        spec=lambda w: canonical(**codec_spec(w)),
        source=source("extract_latents", "codecs"),
    shell:
        "python -m rdpipe extract_latents --spec {params.spec:q}"
        " --manifest_file {input.manifest:q} --out {output:q} > {log:q} 2>&1"
