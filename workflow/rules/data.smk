"""The data set: is it sound, what is it like, how is it split, and its network-ready form."""


rule check:
    """Files, geometry and label values of every case."""
    input:
        description=DESCRIPTION,
        files=raw_files,
    output:
        report=f"{RESULTS}/check.json",
    log:
        log_of("check"),
    benchmark:
        benchmark_of("check")
    conda:
        "../../envs/cpu.yaml"
    threads: 8
    resources:
        mem_mb=4000,
        runtime=120,
    params:
        dataset=DATASET,
    shell:
        "segflow check {params.dataset:q} --output {output.report:q} --workers {threads} --log {log:q}"


rule fingerprint:
    """Shapes, spacings and foreground intensities."""
    input:
        check=f"{RESULTS}/check.json",
    output:
        fingerprint=f"{RESULTS}/dataset_fingerprint.json",
    log:
        log_of("fingerprint"),
    benchmark:
        benchmark_of("fingerprint")
    conda:
        "../../envs/cpu.yaml"
    threads: 8
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        dataset=DATASET,
    shell:
        "segflow fingerprint {params.dataset:q} --output {output.fingerprint:q} --workers {threads}"
        " --log {log:q}"


rule folds:
    """The cross-validation split."""
    input:
        check=f"{RESULTS}/check.json",
        own=[str(OWN_FOLDS)] if OWN_FOLDS.exists() else [],
    output:
        folds=f"{RESULTS}/splits_final.json",
    log:
        log_of("folds"),
    benchmark:
        benchmark_of("folds")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        dataset=DATASET,
    shell:
        "segflow folds {params.dataset:q} --output {output.folds:q} --log {log:q}"


rule preprocess:
    """A chunk of cases, cropped, normalised and resampled for one configuration."""
    input:
        plan=f"{RESULTS}/plans.json",
        files=raw_files_of_chunk,
    output:
        manifest=f"{RESULTS}/preprocessed/{{configuration}}/manifest/chunk_{{chunk}}.json",
    log:
        log_of("preprocess/{configuration}_{chunk}"),
    benchmark:
        benchmark_of("preprocess/{configuration}_{chunk}")
    conda:
        "../../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=16000,
        runtime=240,
    params:
        dataset=DATASET,
        folder=f"{RESULTS}/preprocessed/{{configuration}}",
        chunks=CHUNKS,
    shell:
        "segflow preprocess {params.dataset:q} --plan {input.plan:q}"
        " --configuration {wildcards.configuration} --chunk {wildcards.chunk}/{params.chunks}"
        " --output {params.folder:q} --manifest {output.manifest:q} --workers {threads} --log {log:q}"
