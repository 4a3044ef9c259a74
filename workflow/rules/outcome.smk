"""What the user takes away: the model package, the report and, of several experiments, a comparison."""


rule package:
    """The chosen networks, with all that is needed to use them."""
    input:
        description=ancient(description),
        fingerprint=f"{DATASET}/dataset_fingerprint.json",
        plan=plan_file,
        selection=f"{EXPERIMENT}/selection.json",
        postprocessing=f"{EXPERIMENT}/postprocessing.json",
        models=trained_models,
        settled=settled,
    output:
        card=f"{EXPERIMENT}/model/model.json",
    log:
        log_of("package"),
    benchmark:
        benchmark_of("package")
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("package"),
        meaning=meaning,
        recipe=lambda wildcards: f"--recipe={wildcards.recipe}",
        settings=inference_settings,
        models=f"{EXPERIMENT}/models",
        folds=list(CONFIG.folds),
    shell:
        "exec segflow package --job --dataset {input.description:q} --fingerprint {input.fingerprint:q}"
        " --plan {input.plan:q} --selection {input.selection:q}"
        " --postprocessing {input.postprocessing:q} --models {params.models:q} --folds {params.folds}"
        " {params.recipe:q} --settings {params.settings:q} --output {output.card:q} --log {log:q}"


rule report:
    """One page about the whole experiment."""
    input:
        check=check_reports,
        card=f"{EXPERIMENT}/model/model.json",
        final=f"{EXPERIMENT}/final/summary.json",
        summaries=candidate_summaries,
        histories=training_histories,
        settled=settled,
    output:
        report=report(
            f"{EXPERIMENT}/report.html",
            caption="../report/experiment.rst",
            category="Experiments",
            labels={"data set": "{dataset}", "recipe": "{recipe}"},
        ),
    log:
        log_of("report"),
    benchmark:
        benchmark_of("report")
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("report"),
        folder=subpath(output.report, parent=True),
        dataset=folder_of_dataset,
        overlays=f"--overlays {CONFIG.report.overlays}",
    shell:
        "exec segflow report --job {params.folder:q} --dataset {params.dataset:q} --check {input.check:q}"
        " {params.overlays} --output {output.report:q} --log {log:q}"


rule compare:
    """All experiments of the call in one table."""
    input:
        cards=[f"{RESULTS}/{dataset}/{recipe}/model/model.json" for dataset, recipe in EXPERIMENTS],
        summaries=[
            f"{RESULTS}/{dataset}/{recipe}/final/summary.json" for dataset, recipe in EXPERIMENTS
        ],
        settled=lambda wildcards: [file for one in EXPERIMENT_WILDCARDS for file in settled(one)],
    output:
        table=report(
            f"{RESULTS}/comparison.csv", caption="../report/comparison.rst", category="Comparison"
        ),
    log:
        f"{RESULTS}/logs/compare.log",
    benchmark:
        f"{RESULTS}/benchmarks/compare.tsv"
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("compare"),
        folders=[f"{RESULTS}/{dataset}/{recipe}" for dataset, recipe in EXPERIMENTS],
    shell:
        "exec segflow compare --job {params.folders:q} --output {output.table:q} --log {log:q}"
