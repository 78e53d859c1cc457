"""Networks that the config trains."""

TRAINED = expand("<results>/training/{network}.safetensors", network=query.networks(config)) + [
    f"<results>/training/{network}/q{quality}.safetensors"
    for network, entry in query.retunings(config).items()
    for quality in entry["start"]["quality"]
]


rule train_codec:
    """Train a variable-rate network; after an interruption it continues from its side folder."""
    input:
        manifest=lambda w: expand_outputs(
            rules.prepare_dataset.output.manifest, dataset=config["training"][w.network]["dataset"]
        ),
        pack=lambda w: expand_outputs(
            rules.prepare_dataset.output.pack, dataset=config["training"][w.network]["dataset"]
        ),
        start=lambda w: user_files(*filter(None, [config["training"][w.network].get("start")])),
    output:
        "<results>/training/{network}.safetensors",
    log:
        "<logs>/train_codec/{network}.log",
    conda:
        "../envs/stages.yaml"
    threads: workflow.resource_settings.cores or 1  # on a cluster, the profile sets it
    resources:
        mem=scale_with_attempt("8GB"),
        runtime=scale_with_attempt("24h"),
        gpu=lambda w: (
            config["training"][w.network]["devices"] if config["device"].startswith("cuda") else 0
        ),
    params:
        spec=lambda w: canonical_json(**training_entry(w.network), device=config["device"]),
        state=subpath(output[0], strip_suffix=".safetensors"),
        source=lambda w: code_digests(
            "train_codec", datasets=config["training"][w.network]["dataset"]
        ),
    shell:
        "python -P -m rdpipe train_codec"
        " --spec {params.spec:q}"
        " --manifest_file {input.manifest:q}"
        " --source {params.source:q}"
        " --state {params.state:q}.state"
        " --threads {threads}"
        " --out {output:q} > {log:q} 2>&1"


rule retune_codec:
    """Fine-tune a codec of the config from its own weights; resume from the side folder."""
    input:
        manifest=lambda w: expand_outputs(
            rules.prepare_dataset.output.manifest, dataset=config["training"][w.network]["dataset"]
        ),
        pack=lambda w: expand_outputs(
            rules.prepare_dataset.output.pack, dataset=config["training"][w.network]["dataset"]
        ),
        checkpoint=lambda w: checkpoints_of_codec(
            config["training"][w.network]["start"]["codec"], [w.quality]
        ),
    output:
        "<results>/training/{network}/q{quality}.safetensors",
    log:
        "<logs>/retune_codec/{network}/q{quality}.log",
    conda:
        "../envs/stages.yaml"
    threads: workflow.resource_settings.cores or 1  # on a cluster, the profile sets it
    resources:
        mem=scale_with_attempt("8GB"),
        runtime=scale_with_attempt("24h"),
        gpu=gpus(),
    params:
        spec=lambda w: canonical_json(
            **query.retuning_spec(config, w.network, int(w.quality)),
            entry=weights_entry(config["training"][w.network]["start"]["codec"]),
        ),
        state=subpath(output[0], strip_suffix=".safetensors"),
        source=lambda w: code_digests(
            "retune_codec",
            query.retuning_spec(config, w.network, int(w.quality)),
            datasets=config["training"][w.network]["dataset"],
            codecs=config["training"][w.network]["start"]["codec"],
        ),
    shell:
        "python -P -m rdpipe retune_codec"
        " --spec {params.spec:q}"
        " --manifest_file {input.manifest:q}"
        " --source {params.source:q}"
        " --state {params.state:q}.state"
        " --threads {threads}"
        " --out {output:q} > {log:q} 2>&1"
