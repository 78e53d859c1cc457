"""Real bytes of every cell that is a real code, decoded in a process of their own."""


rule write_bitstreams:
    """Encode every image with every decodable and realisable cell."""
    input:
        manifest=rules.prepare_dataset.output,
        checkpoint=checkpoint,
        latents=rules.extract_latents.output.latents,
        fits=lambda w: fits(w, settings.gap_axes(config, "joint")),
    output:
        "<results>/{dataset}/{codec}/q{quality}/bitstreams/{shard}.zarr.zip",
    log:
        "<logs>/write_bitstreams/{dataset}/{codec}/q{quality}/{shard}.log",
    benchmark:
        "<benchmarks>/write_bitstreams/{dataset}/{codec}/q{quality}/{shard}.jsonl"
    conda:
        "../../environment.yml"
    priority: 2
    resources:
        mem=growing("4GB"),
        runtime=growing("4h"),
    params:
        spec=bitstream_spec,
        source=source("write_bitstreams", "codecs", "means", "variances", "quantizers"),
    shell:
        "python -m rdpipe write_bitstreams --spec {params.spec:q} --manifest_file {input.manifest:q}"
        " --latents {input.latents:q} --fits {input.fits:q} --out {output:q} > {log:q} 2>&1"


rule read_bitstreams:
    """Decode them from the bytes and the codec alone, and compare the latents."""
    input:
        streams=rules.write_bitstreams.output,
        checkpoint=checkpoint,
        latents=rules.extract_latents.output.latents,
        fits=lambda w: fits(w, settings.gap_axes(config, "joint")),
    output:
        "<results>/{dataset}/{codec}/q{quality}/decoded/{shard}.zarr.zip",
    log:
        "<logs>/read_bitstreams/{dataset}/{codec}/q{quality}/{shard}.log",
    benchmark:
        "<benchmarks>/read_bitstreams/{dataset}/{codec}/q{quality}/{shard}.jsonl"
    conda:
        "../../environment.yml"
    priority: 2
    resources:
        mem=growing("4GB"),
        runtime=growing("4h"),
    params:
        spec=bitstream_spec,
        source=source("read_bitstreams", "codecs", "means", "variances", "quantizers"),
    shell:
        "python -m rdpipe read_bitstreams --spec {params.spec:q} --streams {input.streams:q}"
        " --latents {input.latents:q} --fits {input.fits:q} --out {output:q} > {log:q} 2>&1"
