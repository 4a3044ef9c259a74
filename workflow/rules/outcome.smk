"""The model package, the report and, of several experiments, a comparison."""


rule make_package:
    """The chosen networks, with all that is needed to use them."""
    input:
        fingerprint=FINGERPRINT,
        plan=of_plan(f"{PLAN}/plans.json"),
        selection=SELECTION,
        postprocessing=POSTPROCESSING,
        models=all_of(MODEL),
        settled=settled,
    output:
        card=PACKAGE,
    log:
        log_of("package"),
    benchmark:
        benchmark_of("package")
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("package"),
        description=description,
        meaning=meaning,
        recipe=lambda wildcards: f"--recipe={wildcards.recipe}",
        settings=settings("inference"),
        models=f"{EXPERIMENT}/models",
        folds=of_dataset("folds"),
    shell:
        "exec segflow package --job --dataset {params.description:q} --fingerprint {input.fingerprint:q}"
        " --plan {input.plan:q} --selection {input.selection:q}"
        " --postprocessing {input.postprocessing:q} --models {params.models:q} --folds {params.folds}"
        " {params.recipe:q} --settings {params.settings:q} --output {output.card:q} --log {log:q}"


rule score_fast:
    """What `segflow predict --fast` scores on cases that its networks have never seen."""
    input:
        check=check_reports,
        card=PACKAGE,
        folds=FOLDS,
        settled=settled,
    output:
        summary=FAST,
    log:
        log_of("score_fast"),
    benchmark:
        benchmark_of("score_fast")
    conda:
        "../../envs/gpu.yaml"
    threads: network_threads
    resources:
        gpu=1,
        mem_mb=CONFIG.resources.mem_mb,
        runtime=CONFIG.resources.runtime_min,
    params:
        *code("score_fast"),
        description=description,
        meaning=meaning,
        hardware=hardware,
    shell:
        "exec segflow score-fast --job --model {input.card:q} --dataset {params.description:q}"
        " --folds {input.folds:q} --output {output.summary:q} {params.hardware} --threads {threads} --log {log:q}"


rule make_report:
    """One page about the whole experiment, and the folder of its tables and figures."""
    input:
        check=check_reports,
        card=PACKAGE,
        final=FINAL_SUMMARY,
        assessment=ASSESSMENT,
        fast=FAST,
        summaries=all_of(SUMMARY),
        histories=all_of(HISTORY),
        forecast=[FORECAST] if CONFIG.forecast else [],
        settled=settled,
    output:
        report=report(
            REPORT,
            caption="../report/experiment.rst",
            category="Experiments",
            labels={"data set": "{dataset}", "recipe": "{recipe}"},
        ),
        files=directory(REPORT_FILES),
    log:
        log_of("report"),
    benchmark:
        benchmark_of("report")
    conda:
        "../../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        *code("report"),
        folder=subpath(output.report, parent=True),
        dataset=dataset_folder,
        overlays=f"--overlays {CONFIG.report.overlays}",
    shell:
        "exec segflow report --job {params.folder:q} --dataset {params.dataset:q} --check {input.check:q}"
        " {params.overlays} --output {output.report:q} --workers {threads} --log {log:q}"


rule compare:
    """All experiments of the call in one table, and the folder of their paired differences."""
    input:
        cards=expand(PACKAGE, dataset=SOURCES, recipe=RECIPES),
        summaries=expand(FINAL_SUMMARY, dataset=SOURCES, recipe=RECIPES),
        settled=lambda wildcards: [file for one in EXPERIMENTS for file in settled(one)],
    output:
        table=report(COMPARISON, caption="../report/comparison.rst", category="Comparison"),
        files=directory(COMPARISON_FILES),
    log:
        log_of("compare", RESULTS),
    benchmark:
        benchmark_of("compare", RESULTS)
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("compare"),
        folders=expand(EXPERIMENT, dataset=SOURCES, recipe=RECIPES),
    shell:
        "exec segflow compare --job {params.folders:q} --output {output.table:q} --log {log:q}"
