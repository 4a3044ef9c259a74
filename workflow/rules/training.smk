"""Training, per configuration and fold, and what a cascade needs before it."""


rule train:
    """The weights of one configuration, trained on all but one fold's held-out cases."""
    input:
        description=DESCRIPTION,
        plan=f"{RESULTS}/plans.json",
        folds=f"{RESULTS}/splits_final.json",
        manifests=training_manifests,
    output:
        model=f"{RESULTS}/models/{{configuration}}/fold_{{fold}}/model.pt",
        history=f"{RESULTS}/models/{{configuration}}/fold_{{fold}}/training.csv",
    log:
        log_of("train/{configuration}_fold_{fold}"),
    benchmark:
        benchmark_of("train/{configuration}_fold_{fold}")
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
        work=f"{RESULTS}/work/train/{{configuration}}_fold_{{fold}}",
        budget=budget_options,
        seed=CONFIG.seed,
        device=device_of,
        workers=worker_option,
    shell:
        "exec segflow train --dataset {input.description:q} --plan {input.plan:q} --folds {input.folds:q}"
        " --fold {wildcards.fold} --configuration {wildcards.configuration} --data {params.data:q}"
        " {params.previous} --manifests {input.manifests:q} --output {output.model:q}"
        " --history {output.history:q} --work {params.work:q} {params.budget} --seed {params.seed}"
        " --device {params.device} --threads {threads} {params.workers} --log {log:q}"


rule previous_stage:
    """Low-resolution out-of-fold predictions, on the cascade's grid."""
    input:
        description=DESCRIPTION,
        plan=f"{RESULTS}/plans.json",
        folds=f"{RESULTS}/splits_final.json",
        predictions=expand(
            f"{RESULTS}/predictions/3d_lowres/fold_{{fold}}/manifest.json", fold=range(FOLD_COUNT)
        ),
        prepared=expand(
            f"{RESULTS}/preprocessed/3d_fullres/manifest/chunk_{{chunk}}.json", chunk=range(CHUNKS)
        ),
    output:
        manifest=f"{RESULTS}/previous_stage/3d_cascade_fullres/manifest.json",
    log:
        log_of("previous_stage"),
    benchmark:
        benchmark_of("previous_stage")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        predictions=f"{RESULTS}/predictions/3d_lowres",
        data=f"{RESULTS}/preprocessed/3d_fullres",
        folder=f"{RESULTS}/previous_stage/3d_cascade_fullres",
    shell:
        "segflow previous-stage --dataset {input.description:q} --plan {input.plan:q}"
        " --folds {input.folds:q} --configuration 3d_cascade_fullres"
        " --predictions {params.predictions:q} --data {params.data:q} --output {params.folder:q}"
        " --manifest {output.manifest:q} --log {log:q}"
