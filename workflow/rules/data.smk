"""Datasets."""


rule prepare_dataset:
    """Decode every image once; record size, pixels and SHA-256."""
    input:
        fetched=lambda w: (
            rules.fetch_dataset.output if w.dataset in query.published_datasets(config) else []
        ),
    output:
        "<results>/{dataset}/manifest.json",
    log:
        "<logs>/prepare_dataset/{dataset}.log",
    conda:
        "../../environment.yml"
    resources:
        mem=scale_with_attempt("1GB"),
        runtime=scale_with_attempt("2h"),
    params:
        spec=lambda w: canonical_json(
            name=w.dataset, entry=config_entry("datasets", w.dataset), on_error=config["on_error"]
        ),
        images=image_fingerprint,
        source=lambda w: code_digests("prepare_dataset", datasets=w.dataset),
    shell:
        "python -P -m rdpipe prepare_dataset"
        " --spec {params.spec:q}"
        " --out {output:q} > {log:q} 2>&1"
