"""What the user takes away: the model package and the report."""


rule package:
    """The chosen networks, with all that is needed to use them."""
    input:
        description=DESCRIPTION,
        fingerprint=f"{RESULTS}/dataset_fingerprint.json",
        plan=f"{RESULTS}/plans.json",
        selection=f"{RESULTS}/selection.json",
        postprocessing=f"{RESULTS}/postprocessing.json",
        models=trained_models,
    output:
        card=f"{RESULTS}/model/model.json",
    log:
        log_of("package"),
    benchmark:
        benchmark_of("package")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=30,
    params:
        models=f"{RESULTS}/models",
        folds=list(CONFIG.folds),
        inference=inference_options(),
    shell:
        "segflow package --dataset {input.description:q} --fingerprint {input.fingerprint:q}"
        " --plan {input.plan:q} --selection {input.selection:q}"
        " --postprocessing {input.postprocessing:q} --models {params.models:q} --folds {params.folds}"
        " {params.inference} --output {output.card:q} --log {log:q}"


rule report:
    """One page about the whole experiment."""
    input:
        check=f"{RESULTS}/check.json",
        fingerprint=f"{RESULTS}/dataset_fingerprint.json",
        plan=f"{RESULTS}/plans.json",
        selection=f"{RESULTS}/selection.json",
        postprocessing=f"{RESULTS}/postprocessing.json",
        card=f"{RESULTS}/model/model.json",
        final=f"{RESULTS}/final/summary.json",
        summaries=candidate_summaries,
        histories=training_histories,
    output:
        report=report(f"{RESULTS}/report.html", category="Outcome"),
    log:
        log_of("report"),
    benchmark:
        benchmark_of("report")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=4000,
        runtime=30,
    params:
        results=RESULTS,
        dataset=DATASET,
        overlays=CONFIG.report.overlays,
    shell:
        "segflow report {params.results:q} --dataset {params.dataset:q} --overlays {params.overlays}"
        " --output {output.report:q} --log {log:q}"
