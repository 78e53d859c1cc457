"""Cells of the array through the decoder."""


rule simulate:
    """True PSNR beside the rate, over a sweep of the test channel's level."""
    input:
        manifest=rules.prepare_dataset.output,
        checkpoint=checkpoint,
        latents=rules.extract_latents.output.latents,
        fits=lambda w: fits(w, settings.simulation(config, w.codec)),
    output:
        "<results>/{dataset}/{codec}/q{quality}/simulation/{shard}.zarr.zip",
    log:
        "<logs>/simulate/{dataset}/{codec}/q{quality}/{shard}.log",
    benchmark:
        "<benchmarks>/simulate/{dataset}/{codec}/q{quality}/{shard}.jsonl"
    conda:
        "../../environment.yml"
    priority: 1
    resources:
        mem=growing("4GB"),
        runtime=growing("4h"),
        gpu=1 if config["device"].startswith("cuda") else 0,
    params:
        spec=lambda w: canonical(**codec_spec(w), **settings.simulation(config, w.codec)),
        source=source("simulate", "codecs", "means", "variances", "quantizers"),
    shell:
        "python -m rdpipe simulate --spec {params.spec:q} --manifest_file {input.manifest:q}"
        " --latents {input.latents:q} --fits {input.fits:q} --out {output:q} > {log:q} 2>&1"
