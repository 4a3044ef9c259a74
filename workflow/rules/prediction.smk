"""Out-of-fold predictions of single configurations and of pairs, and their scores."""


rule predict_fold:
    """Label maps of the cases a network has never seen."""
    input:
        description=DESCRIPTION,
        plan=f"{RESULTS}/plans.json",
        folds=f"{RESULTS}/splits_final.json",
        manifests=training_manifests,
        model=f"{RESULTS}/models/{{configuration}}/fold_{{fold}}/model.pt",
    output:
        manifest=f"{RESULTS}/predictions/{{configuration}}/fold_{{fold}}/manifest.json",
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
        data=data_folder,
        previous=previous_stage_option,
        folder=f"{RESULTS}/predictions/{{configuration}}/fold_{{fold}}",
        inference=inference_options(),
        probabilities=probability_option(),
        device=device_of,
    shell:
        "exec segflow predict-fold --dataset {input.description:q} --plan {input.plan:q}"
        " --folds {input.folds:q} --fold {wildcards.fold} --data {params.data:q} {params.previous}"
        " --model {input.model:q} --output {params.folder:q} --manifest {output.manifest:q}"
        " {params.inference} {params.probabilities} --device {params.device} --threads {threads}"
        " --log {log:q}"


rule ensemble:
    """Label maps from the averaged probabilities of two configurations."""
    input:
        description=DESCRIPTION,
        plan=f"{RESULTS}/plans.json",
        folds=f"{RESULTS}/splits_final.json",
        first=f"{RESULTS}/predictions/{{first}}/fold_{{fold}}/manifest.json",
        second=f"{RESULTS}/predictions/{{second}}/fold_{{fold}}/manifest.json",
    output:
        manifest=f"{RESULTS}/predictions/{{first}}+{{second}}/fold_{{fold}}/manifest.json",
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
        data=lambda wildcards: f"{RESULTS}/preprocessed/{data_of(wildcards.first)}",
        members=f"{RESULTS}/predictions/{{first}}/fold_{{fold}}"
        f" {RESULTS}/predictions/{{second}}/fold_{{fold}}",
        folder=f"{RESULTS}/predictions/{{first}}+{{second}}/fold_{{fold}}",
    shell:
        "segflow ensemble --dataset {input.description:q} --plan {input.plan:q} --folds {input.folds:q}"
        " --fold {wildcards.fold} --data {params.data:q} --members {params.members}"
        " --output {params.folder:q} --manifest {output.manifest:q} --log {log:q}"


rule evaluate:
    """Scores of one candidate on one fold's held-out cases."""
    input:
        description=DESCRIPTION,
        check=f"{RESULTS}/check.json",
        predictions=f"{RESULTS}/predictions/{{candidate}}/fold_{{fold}}/manifest.json",
    output:
        summary=f"{RESULTS}/evaluation/{{candidate}}/fold_{{fold}}.json",
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
        folder=f"{RESULTS}/predictions/{{candidate}}/fold_{{fold}}",
    shell:
        "segflow evaluate --predictions {params.folder:q} --dataset {input.description:q}"
        " --output {output.summary:q} --workers {threads} --log {log:q}"


rule crossvalidate:
    """Scores of one candidate over all folds."""
    input:
        description=DESCRIPTION,
        folds=fold_summaries,
    output:
        summary=f"{RESULTS}/evaluation/{{candidate}}/summary.json",
    log:
        log_of("crossvalidate/{candidate}"),
    benchmark:
        benchmark_of("crossvalidate/{candidate}")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "segflow crossvalidate --summaries {input.folds:q} --dataset {input.description:q}"
        " --output {output.summary:q} --log {log:q}"
