"""Real bytes of every cell that has a code, decoded in another process."""


rule write_bitstreams:
    """Encode every image in every cell that has an entropy coder."""
    input:
        manifest=rules.prepare_dataset.output.manifest,
        pack=rules.prepare_dataset.output.pack,
        checkpoint=checkpoint_files,
        refined=refined_files,
        latents=rules.extract_latents.output.latents,
        simulation=simulation_of_shard,
        fits=fits_of_bitstreams,
    output:
        "<results>/{dataset}/{codec}/q{quality}/bitstreams/{shard}.zarr.zip",
    log:
        "<logs>/write_bitstreams/{dataset}/{codec}/q{quality}/{shard}.log",
    priority: 2
    conda:
        "../envs/stages.yaml"
    resources:
        mem=CODEC_MEMORY,
        runtime=run_time(15, 60, lambda w: len(query.bitstream_cells(config, w.codec)), shard),
    params:
        spec=bitstream_spec,
        source=lambda w: code_digests(
            "write_bitstreams", query.bitstream_spec(config, w.codec), codecs=w.codec
        ),
    shell:
        "python -P -m rdpipe write_bitstreams"
        " --spec {params.spec:q}"
        " --manifest_file {input.manifest:q}"
        " --refined {input.refined:q}"
        " --latents {input.latents:q}"
        " --simulation {input.simulation:q}"
        " --fits {input.fits:q}"
        " --out {output:q} > {log:q} 2>&1"


rule read_bitstreams:
    """Decode the bitstreams from the bytes and the codec alone, and compare latents and images."""
    input:
        manifest=rules.prepare_dataset.output.manifest,
        pack=rules.prepare_dataset.output.pack,
        streams=rules.write_bitstreams.output,
        checkpoint=checkpoint_files,
        latents=rules.extract_latents.output.latents,
        fits=fits_of_bitstreams,
    output:
        "<results>/{dataset}/{codec}/q{quality}/decoded/{shard}.zarr.zip",
    log:
        "<logs>/read_bitstreams/{dataset}/{codec}/q{quality}/{shard}.log",
    priority: 2
    conda:
        "../envs/stages.yaml"
    resources:
        mem=CODEC_MEMORY,
        runtime=run_time(15, 60, lambda w: len(query.bitstream_cells(config, w.codec)), shard),
    params:
        spec=bitstream_spec,
        source=lambda w: code_digests(
            "read_bitstreams", query.bitstream_spec(config, w.codec), codecs=w.codec
        ),
    shell:
        "python -P -m rdpipe read_bitstreams"
        " --spec {params.spec:q}"
        " --manifest_file {input.manifest:q}"
        " --streams {input.streams:q}"
        " --latents {input.latents:q}"
        " --fits {input.fits:q}"
        " --out {output:q} > {log:q} 2>&1"
