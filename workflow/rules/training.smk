"""Training, per configuration and fold, and what a cascade needs before it."""

FORECAST_READS = ("epochs", "iterations", "validation_iterations", "base_width", "batch_size")


rule forecast:
    """What the trainings will cost. Only the report reads it, and changed code does not make it again."""
    input:
        network=planned_networks,
    output:
        forecast=FORECAST,
    log:
        log_of("forecast"),
    benchmark:
        benchmark_of("forecast")
    priority: 1
    conda:
        "../../envs/gpu.yaml"
    threads: training_threads
    resources:
        gpu=1,
        mem_mb=CONFIG.resources.mem_mb,
        runtime=30,
    params:
        lengths=settings("training", only=FORECAST_READS),
        description=description,
        plan=lambda wildcards, resources: of_plan(f"{PLAN}/plans.json")(wildcards),
        configurations=lambda wildcards, input: [Path(file).stem for file in input.network],
        folds=of_dataset("folds"),
        of_folds=of_dataset("n_folds"),
        options=forecast_options,
        hardware=hardware,
    shell:
        "exec segflow forecast --job --dataset {params.description:q} --plan {params.plan:q}"
        " --configurations {params.configurations} --folds {params.folds} --of-folds {params.of_folds}"
        " --output {output.forecast:q} {params.options:q} {params.hardware} --threads {threads} --log {log:q}"


rule train:
    """The weights of one configuration, trained on all but one fold's held-out cases."""
    input:
        network=of_plan(NETWORK),
        folds=FOLDS,
        prepared=of_cases(CASES),
        previous=previous_stage,
    output:
        model=MODEL,
        history=HISTORY,
    log:
        log_of("train/{configuration}_fold_{fold}"),
    benchmark:
        benchmark_of("train/{configuration}_fold_{fold}")
    conda:
        "../../envs/gpu.yaml"
    threads: training_threads
    resources:
        gpu=CONFIG.resources.gpus,
        mem_mb=CONFIG.resources.mem_mb,
        runtime=CONFIG.resources.runtime_min,
    params:
        *code("train"),
        description=description,
        meaning=meaning,
        settings=training_settings,
        seed=f"--seed {CONFIG.seed}",
        weights=pretrained_weights,
        previous=previous_stage_option,
        pretrained=pretrained_option,
        work=f"{EXPERIMENT}/work/{{configuration}}_fold_{{fold}}",
        hardware=hardware,
        aside=side_options,
    shell:
        "exec segflow train --job --dataset {params.description:q}"
        " --network {input.network:q} --folds {input.folds:q} --fold {wildcards.fold}"
        " --prepared {input.prepared:q} {params.previous:q} {params.pretrained:q}"
        " --output {output.model:q}"
        " --history {output.history:q} --work {params.work:q} --settings {params.settings:q}"
        " {params.seed} {params.hardware} --threads {threads} {params.aside:q} --log {log:q}"


checkpoint previous_stage:
    """Low-resolution out-of-fold predictions, on the cascade's grid."""
    input:
        preparation=of_cases(PREPARATION, CASCADE),
        folds=FOLDS,
        predictions=low_resolution_predictions,
        prepared=of_cases(CASES, CASCADE),
        settled=of_cases(CASES, LOW_RESOLUTION),
    output:
        manifest=PREVIOUS_STAGE,
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
        *code("previous_stage"),
        description=description,
        meaning=meaning,
        predictions=f"{EXPERIMENT}/predictions/{LOW_RESOLUTION}",
    shell:
        "exec segflow previous-stage --job --dataset {params.description:q}"
        " --preparation {input.preparation:q} --folds {input.folds:q}"
        " --predictions {params.predictions:q} --prepared {input.prepared:q}"
        " --manifest {output.manifest:q} --log {log:q}"
