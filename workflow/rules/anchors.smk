"""Classical codecs on the same images."""


rule run_anchor:
    """Real bytes and decoded quality of one classical codec at one quality."""
    input:
        manifest=rules.prepare_dataset.output,
    output:
        "<results>/{dataset}/anchors/{anchor}/q{quality}/{shard}.zarr.zip",
    log:
        "<logs>/run_anchor/{dataset}/{anchor}/q{quality}/{shard}.log",
    benchmark:
        "<benchmarks>/run_anchor/{dataset}/{anchor}/q{quality}/{shard}.jsonl"
    conda:
        "../../environment.yml"
    resources:
        mem=growing("1GB"),
        runtime=growing(lambda w: "24h" if made_by("anchors", w.anchor).get("use") == "external" else "1h"),
    params:
        spec=lambda w: canonical(
            dataset=w.dataset,
            anchor=w.anchor,
            quality=int(w.quality),
            entry=made_by("anchors", w.anchor),
            shard=shard(w),
        ),
        source=lambda w: source("run_anchor", anchors=w.anchor),
    shell:
        "python -m rdpipe run_anchor --spec {params.spec:q} --manifest_file {input.manifest:q}"
        " --out {output:q} > {log:q} 2>&1"
