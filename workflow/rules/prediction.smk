"""Out-of-fold predictions of single configurations and of pairs, and their scores."""


rule predict_fold:
    """Label maps of the cases a network has never seen."""
    input:
        preparation=of_cases(PREPARATION),
        folds=FOLDS,
        prepared=of_cases(CASES),
        previous=previous_stage,
        model=MODEL,
    output:
        manifest=f"{EXPERIMENT}/predictions/{{configuration}}/fold_{{fold}}/manifest.json",
    log:
        log_of("predict_fold/{configuration}_fold_{fold}"),
    benchmark:
        benchmark_of("predict_fold/{configuration}_fold_{fold}")
    conda:
        "../../envs/gpu.yaml"
    threads: network_threads
    resources:
        gpu=1,
        mem_mb=CONFIG.resources.mem_mb,
        runtime=CONFIG.resources.runtime_min,
    params:
        *code("predict_fold"),
        description=description,
        meaning=meaning,
        settings=settings("inference"),
        previous=previous_stage_option,
        folder=subpath(output.manifest, parent=True),
        probabilities=keeps_probabilities,
        hardware=hardware,
    shell:
        "exec segflow predict-fold --job --dataset {params.description:q}"
        " --preparation {input.preparation:q} --folds {input.folds:q} --fold {wildcards.fold}"
        " --prepared {input.prepared:q} {params.previous:q} --model {input.model:q}"
        " --output {params.folder:q} --manifest {output.manifest:q} --settings {params.settings:q}"
        " {params.probabilities} {params.hardware} --threads {threads}"
        " --log {log:q}"


rule ensemble:
    """Label maps from the averaged probabilities of two configurations."""
    input:
        preparation=of_cases(PREPARATION, "first"),
        folds=FOLDS,
        prepared=of_cases(CASES, "first"),
        first=f"{EXPERIMENT}/predictions/{{first}}/fold_{{fold}}/manifest.json",
        second=f"{EXPERIMENT}/predictions/{{second}}/fold_{{fold}}/manifest.json",
        settled=settled,
    output:
        manifest=f"{EXPERIMENT}/predictions/{{first}}+{{second}}/fold_{{fold}}/manifest.json",
    log:
        log_of("ensemble/{first}+{second}_fold_{fold}"),
    benchmark:
        benchmark_of("ensemble/{first}+{second}_fold_{fold}")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        *code("ensemble"),
        description=description,
        meaning=meaning,
        first=subpath(input.first, parent=True),
        second=subpath(input.second, parent=True),
        folder=subpath(output.manifest, parent=True),
    shell:
        "exec segflow ensemble --job --dataset {params.description:q} --preparation {input.preparation:q}"
        " --folds {input.folds:q} --fold {wildcards.fold} --prepared {input.prepared:q}"
        " --members {params.first:q} {params.second:q} --output {params.folder:q}"
        " --manifest {output.manifest:q} --log {log:q}"


rule evaluate:
    """Scores of one candidate on one fold's held-out cases."""
    input:
        check=check_reports,
        predictions=PREDICTIONS,
        patients=patients_file,
        settled=settled,
    output:
        summary=SCORES,
    log:
        log_of("evaluate/{candidate}_fold_{fold}"),
    benchmark:
        benchmark_of("evaluate/{candidate}_fold_{fold}")
    conda:
        "../../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        *code("evaluate", without="segflow.evaluation.beyond_dice"),  # which is for other metrics
        description=description,
        meaning=meaning,
        patients=of_dataset("patients"),
        folder=subpath(input.predictions, parent=True),
    shell:
        "exec segflow evaluate --job --predictions {params.folder:q} --dataset {params.description:q}"
        " {params.patients:q} --output {output.summary:q} --workers {threads} --log {log:q}"


rule crossvalidate:
    """Scores of one candidate over all folds."""
    input:
        folds=all_folds(SCORES),
        settled=settled,
    output:
        summary=SUMMARY,
    log:
        log_of("crossvalidate/{candidate}"),
    benchmark:
        benchmark_of("crossvalidate/{candidate}")
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("crossvalidate"),
        description=description,
        meaning=meaning,
    shell:
        "exec segflow crossvalidate --job --summaries {input.folds:q} --dataset {params.description:q}"
        " --output {output.summary:q} --log {log:q}"
