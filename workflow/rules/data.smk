"""Datasets."""


rule prepare_dataset:
    """Decode every image once; record size, pixels and SHA-256; pack the files for a storage."""
    input:
        fetched=lambda w: (
            rules.fetch_dataset.output if w.dataset in query.published_datasets(config) else []
        ),
    output:
        manifest="<results>/{dataset}/manifest.json",
        pack=["<results>/{dataset}/images.zip"] if STORED else [],
    log:
        "<logs>/prepare_dataset/{dataset}.log",
    localrule: STORED  # this machine has the images
    conda:
        "../envs/stages.yaml"
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
        " --pack {output.pack:q}"
        " --out {output.manifest:q} > {log:q} 2>&1"
