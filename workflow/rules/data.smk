"""The data set: checked, measured, planned for, split, and made network-ready."""


checkpoint check:
    """Files, geometry and label values of a chunk of cases; a digest of every file."""
    input:
        files=lambda wildcards: undated(SOURCES[wildcards.dataset].chunks[int(wildcards.chunk)]),
    output:
        report=CHECK,
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
        dataset=dataset_folder,
        chunks=of_dataset("n_chunks"),
    shell:
        "exec segflow check --job {params.dataset:q} --chunk {wildcards.chunk}/{params.chunks}"
        " --output {output.report:q} --workers {threads} --log {log:q}"


rule fingerprint:
    """Shapes, spacings and foreground intensities."""
    input:
        check=check_reports,
    output:
        fingerprint=FINGERPRINT,
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
        dataset=dataset_folder,
        cases=f"{DATASET}/fingerprint",
    shell:
        "exec segflow fingerprint --job {params.dataset:q} --check {input.check:q} --cases {params.cases:q}"
        " --output {output.fingerprint:q} --workers {threads} --log {log:q}"


checkpoint plan:
    """Spacing, patch, batch and network of every configuration; a part for each stage that reads it."""
    input:
        fingerprint=FINGERPRINT,
        edited=undated([CONFIG.plan] if CONFIG.plan else []),
        settled=check_reports,
    output:
        plan=f"{PLAN}/plans.json",
        network=expand(NETWORK, configuration=PLANS.names, allow_missing=True),
        preparation=expand(PREPARATION, configuration=PLANS.names, allow_missing=True),
    log:
        log_of("plan/{plan}", DATASET),
    benchmark:
        benchmark_of("plan/{plan}", DATASET)
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("plan"),
        description=description,
        meaning=meaning,
        how=planning_option,
        parts=subpath(output.plan, parent=True),
    shell:
        "exec segflow plan --job --dataset {params.description:q} --fingerprint {input.fingerprint:q}"
        " {params.how:q} --parts {params.parts:q} --output {output.plan:q} --log {log:q}"


checkpoint folds:
    """The cross-validation split."""
    input:
        own=lambda wildcards: undated(SOURCES[wildcards.dataset].own_folds),
        patients=patients_file,
    output:
        folds=FOLDS,
    log:
        log_of("folds", DATASET),
    benchmark:
        benchmark_of("folds", DATASET)
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("folds"),
        cases=of_dataset("cases"),
        patients=of_dataset("patients"),
        dataset=dataset_folder,
    shell:
        "exec segflow folds --job {params.dataset:q} {params.patients:q} --output {output.folds:q} --log {log:q}"


rule preprocess:
    """A chunk of cases, cropped, normalised and resampled for one configuration."""
    input:
        preparation=PREPARATION,
        check=CHECK,
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
        dataset=dataset_folder,
        folder=subpath(output.manifest, ancestor=2),
        chunks=of_dataset("n_chunks"),
    shell:
        "exec segflow preprocess --job {params.dataset:q} --preparation {input.preparation:q}"
        " --check {input.check:q} --chunk {wildcards.chunk}/{params.chunks}"
        " --output {params.folder:q} --manifest {output.manifest:q} --workers {threads} --log {log:q}"


checkpoint manifest:
    """All chunks of a configuration in one small file. It changes only if a prepared case does."""
    input:
        manifests=all_chunks(f"{PREPARED}/manifest/chunk_{{chunk}}.json"),
    output:
        prepared=CASES,
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
