"""Data sets."""


rule prepare_dataset:
    """Size, pixels and SHA-256 of every image, each decoded once; downloads what is published."""
    output:
        "<results>/{dataset}/manifest.json",
    log:
        "<logs>/prepare_dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/prepare_dataset/{dataset}.jsonl"
    conda:
        "../../environment.yml"
    resources:
        mem=growing("1GB"),
        runtime=growing("2h"),  # a download
    params:
        spec=lambda w: canonical(
            name=w.dataset, entry=made_by("datasets", w.dataset), on_error=config["on_error"]
        ),
        images=images,
        source=source("prepare_dataset", "datasets"),
    shell:
        "python -m rdpipe prepare_dataset --spec {params.spec:q} --out {output:q} > {log:q} 2>&1"
