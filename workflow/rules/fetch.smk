"""Files from the network: on the machine that runs Snakemake, before the jobs that need them."""


rule fetch_dataset:
    """Download and verify a published dataset; it stays in the cache of the user."""
    output:
        "<results>/{dataset}/files.json",
    log:
        "<logs>/fetch_dataset/{dataset}.log",
    priority: 3
    localrule: True
    conda:
        "../envs/stages.yaml"
    params:
        # without digests of code: the files are what was published
        spec=lambda w: canonical_json(name=w.dataset, entry=config_entry("datasets", w.dataset)),
    shell:
        "python -P -m rdpipe fetch_dataset"
        " --spec {params.spec:q}"
        " --out {output:q} > {log:q} 2>&1"


rule fetch_weights:
    """Download the pretrained weights of a codec at one quality."""
    output:
        "<results>/weights/{codec}/q{quality}.pth.tar",
    log:
        "<logs>/fetch_weights/{codec}/q{quality}.log",
    priority: 3
    localrule: True
    conda:
        "../envs/stages.yaml"
    params:
        spec=lambda w: canonical_json(
            **query.pretrained_codecs(config)[w.codec], quality=int(w.quality)
        ),
    shell:
        "python -P -m rdpipe fetch_weights"
        " --spec {params.spec:q}"
        " --out {output:q} > {log:q} 2>&1"


if STORED:

    rule copy_file:
        """Copy a file of the user to the storage, where jobs on other machines find it."""
        input:
            lambda w: local(original_file(w.file)),
        output:
            "<results>/files/{file}",
        log:
            "<logs>/copy_file/{file}.log",
        priority: 3
        localrule: True
        conda:
            "../envs/stages.yaml"
        shell:
            "cp {input:q} {output:q} > {log:q} 2>&1"
