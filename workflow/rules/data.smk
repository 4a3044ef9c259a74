"""The data set: is it sound, what is it like, how is it split, and its network-ready form."""


checkpoint check:
    """Files, geometry and label values of a chunk of cases; a digest of every file."""
    input:
        description=ancient(description),
        files=raw_files_of_chunk,
    output:
        report=f"{DATASET}/check/chunk_{{chunk}}.json",
    log:
        log_of("check/chunk_{chunk}", DATASET),
    benchmark:
        benchmark_of("check/chunk_{chunk}", DATASET)
    conda:
        "../../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        *code("check"),
        meaning=meaning,
        dataset=folder_of_dataset,
        chunks=chunk_total,
    shell:
        "exec segflow check --job {params.dataset:q} --chunk {wildcards.chunk}/{params.chunks}"
        " --output {output.report:q} --workers {threads} --log {log:q}"


rule fingerprint:
    """Shapes, spacings and foreground intensities."""
    input:
        description=ancient(description),
        check=check_reports,
    output:
        fingerprint=f"{DATASET}/dataset_fingerprint.json",
    log:
        log_of("fingerprint", DATASET),
    benchmark:
        benchmark_of("fingerprint", DATASET)
    conda:
        "../../envs/cpu.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        *code("fingerprint"),
        meaning=meaning,
        dataset=folder_of_dataset,
        cases=f"{DATASET}/fingerprint",
    shell:
        "exec segflow fingerprint --job {params.dataset:q} --check {input.check:q} --cases {params.cases:q}"
        " --output {output.fingerprint:q} --workers {threads} --log {log:q}"


checkpoint folds:
    """The cross-validation split."""
    input:
        description=ancient(description),
        own=own_folds,
    output:
        folds=f"{DATASET}/splits_final.json",
    log:
        log_of("folds", DATASET),
    benchmark:
        benchmark_of("folds", DATASET)
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("folds"),
        cases=lambda wildcards: source(wildcards).cases,
        dataset=folder_of_dataset,
    shell:
        "exec segflow folds --job {params.dataset:q} --output {output.folds:q} --log {log:q}"


rule preprocess:
    """A chunk of cases, cropped, normalised and resampled for one configuration."""
    input:
        description=ancient(description),
        preparation=f"{PLAN}/preparation/{{configuration}}.json",
        check=f"{DATASET}/check/chunk_{{chunk}}.json",
    output:
        manifest=f"{PREPARED}/manifest/chunk_{{chunk}}.json",
    log:
        log_of("preprocess/{plan}_{configuration}_{chunk}", DATASET),
    benchmark:
        benchmark_of("preprocess/{plan}_{configuration}_{chunk}", DATASET)
    conda:
        "../../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=16000,
        runtime=240,
    params:
        *code("preprocess"),
        meaning=meaning,
        dataset=folder_of_dataset,
        folder=subpath(output.manifest, ancestor=2),
        chunks=chunk_total,
    shell:
        "exec segflow preprocess --job {params.dataset:q} --preparation {input.preparation:q}"
        " --check {input.check:q} --chunk {wildcards.chunk}/{params.chunks}"
        " --output {params.folder:q} --manifest {output.manifest:q} --workers {threads} --log {log:q}"


checkpoint prepared:
    """All chunks of a configuration in one small file. It changes only if a prepared case does."""
    input:
        manifests=lambda wildcards: expand(
            f"{PREPARED}/manifest/chunk_{{chunk}}.json",
            chunk=range(chunk_total(wildcards)),
            **wildcards,
        ),
    output:
        prepared=f"{PREPARED}/prepared.json",
    log:
        log_of("prepared/{plan}_{configuration}", DATASET),
    benchmark:
        benchmark_of("prepared/{plan}_{configuration}", DATASET)
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("manifest"),
    shell:
        "exec segflow manifest --job --chunks {input.manifests:q} --output {output.prepared:q} --log {log:q}"
