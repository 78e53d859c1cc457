"""Data sets."""


def image_files(wildcards):
    """The images of a folder, so that a changed one is noticed."""
    entry = config["datasets"][wildcards.dataset]
    if entry.get("use", wildcards.dataset) != "folder":
        return []
    from rdpipe.datasets.folder import find

    try:
        return [source.file for source in find(**entry["args"])]
    except InputError as error:
        raise WorkflowError(f"data set {wildcards.dataset!r}: {error}")


rule prepare_dataset:
    """Size, pixels and SHA-256 of every image, each decoded once."""
    input:
        image_files,
    output:
        "<results>/{dataset}/manifest.json",
    log:
        "<logs>/prepare_dataset/{dataset}.log",
    benchmark:
        "<benchmarks>/prepare_dataset/{dataset}.jsonl"
    resources:
        mem="1GB",
        runtime="20m",
    params:
        spec=lambda w: canonical(
            name=w.dataset, entry=config["datasets"][w.dataset], on_error=config["on_error"]
        ),
        source=source("prepare_dataset", "datasets"),
    shell:
        "python -m rdpipe prepare_dataset --spec {params.spec:q} --out {output:q} > {log:q} 2>&1"
