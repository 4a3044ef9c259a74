"""The empirical parameters: which model or pair, and which post-processing."""


rule select:
    """The candidate with the best out-of-fold score."""
    input:
        summaries=candidate_summaries,
    output:
        selection=f"{RESULTS}/selection.json",
    log:
        log_of("select"),
    benchmark:
        benchmark_of("select")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    shell:
        "segflow select --candidates {input.summaries:q} --output {output.selection:q} --log {log:q}"


rule postprocess_search:
    """Operations that raise the chosen candidate's out-of-fold score."""
    input:
        description=DESCRIPTION,
        check=f"{RESULTS}/check.json",
        selection=f"{RESULTS}/selection.json",
        predictions=candidate_predictions,
    output:
        postprocessing=f"{RESULTS}/postprocessing.json",
    log:
        log_of("postprocess_search"),
    benchmark:
        benchmark_of("postprocess_search")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=8000,
        runtime=240,
    shell:
        "segflow postprocess-search --selection {input.selection:q} --dataset {input.description:q}"
        " --output {output.postprocessing:q} --log {log:q}"


rule postprocess:
    """The chosen candidate's out-of-fold label maps as a user would get them."""
    input:
        description=DESCRIPTION,
        postprocessing=f"{RESULTS}/postprocessing.json",
        selection=f"{RESULTS}/selection.json",
        predictions=candidate_predictions,
    output:
        manifest=f"{RESULTS}/final/manifest.json",
    log:
        log_of("postprocess"),
    benchmark:
        benchmark_of("postprocess")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=8000,
        runtime=120,
    params:
        predictions=f"{RESULTS}/predictions",
        folds=list(CONFIG.folds),
        folder=f"{RESULTS}/final",
    shell:
        "segflow postprocess --postprocessing {input.postprocessing:q} --dataset {input.description:q}"
        " --selection {input.selection:q} --predictions {params.predictions:q} --folds {params.folds}"
        " --output {params.folder:q} --manifest {output.manifest:q} --log {log:q}"


rule evaluate_final:
    """The scores a user may expect: out-of-fold, after post-processing."""
    input:
        description=DESCRIPTION,
        check=f"{RESULTS}/check.json",
        manifest=f"{RESULTS}/final/manifest.json",
    output:
        summary=f"{RESULTS}/final/summary.json",
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
        folder=f"{RESULTS}/final",
    shell:
        "segflow evaluate --predictions {params.folder:q} --dataset {input.description:q}"
        " --output {output.summary:q} --workers {threads} --log {log:q}"
