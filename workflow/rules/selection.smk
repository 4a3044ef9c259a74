"""The empirical parameters: which model or pair, and which post-processing."""


rule select:
    """The candidate with the best out-of-fold score."""
    input:
        summaries=candidate_summaries,
        settled=settled,
    output:
        selection=f"{EXPERIMENT}/selection.json",
    log:
        log_of("select"),
    benchmark:
        benchmark_of("select")
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("select"),
        settings=selection_settings,
    shell:
        "exec segflow select --job --candidates {input.summaries:q} --output {output.selection:q}"
        " --settings {params.settings:q} --log {log:q}"


rule postprocess_search:
    """Operations that raise the chosen candidate's out-of-fold score."""
    input:
        description=ancient(description),
        check=check_reports,
        selection=f"{EXPERIMENT}/selection.json",
        predictions=candidate_predictions,
        settled=settled,
    output:
        postprocessing=f"{EXPERIMENT}/postprocessing.json",
    log:
        log_of("postprocess_search"),
    benchmark:
        benchmark_of("postprocess_search")
    conda:
        "../../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        *code("postprocess_search"),
        meaning=meaning,
        settings=postprocessing_settings,
    shell:
        "exec segflow postprocess-search --job --selection {input.selection:q}"
        " --dataset {input.description:q} --settings {params.settings:q}"
        " --output {output.postprocessing:q} --workers {threads} --log {log:q}"


rule postprocess:
    """The chosen candidate's out-of-fold label maps as a user would get them."""
    input:
        description=ancient(description),
        postprocessing=f"{EXPERIMENT}/postprocessing.json",
        selection=f"{EXPERIMENT}/selection.json",
        predictions=candidate_predictions,
        settled=settled,
    output:
        manifest=f"{EXPERIMENT}/final/manifest.json",
    log:
        log_of("postprocess"),
    benchmark:
        benchmark_of("postprocess")
    conda:
        "../../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        *code("postprocess"),
        meaning=meaning,
        predictions=f"{EXPERIMENT}/predictions",
        folds=list(CONFIG.folds),
        folder=subpath(output.manifest, parent=True),
    shell:
        "exec segflow postprocess --job --postprocessing {input.postprocessing:q}"
        " --dataset {input.description:q} --selection {input.selection:q}"
        " --predictions {params.predictions:q} --folds {params.folds} --output {params.folder:q}"
        " --manifest {output.manifest:q} --workers {threads} --log {log:q}"


rule evaluate_final:
    """The scores a user may expect: out-of-fold, after post-processing."""
    input:
        description=ancient(description),
        check=check_reports,
        manifest=f"{EXPERIMENT}/final/manifest.json",
        settled=settled,
    output:
        summary=f"{EXPERIMENT}/final/summary.json",
    log:
        log_of("evaluate_final"),
    benchmark:
        benchmark_of("evaluate_final")
    conda:
        "../../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=4000,
        runtime=60,
    params:
        *code("evaluate"),
        meaning=meaning,
        folder=subpath(input.manifest, parent=True),
    shell:
        "exec segflow evaluate --job --predictions {params.folder:q} --dataset {input.description:q}"
        " --output {output.summary:q} --workers {threads} --log {log:q}"
