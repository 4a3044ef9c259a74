"""The empirical parameters: which model or pair, and which post-processing."""


rule select:
    """The candidate with the best out-of-fold score."""
    input:
        summaries=all_of(SUMMARY),
        settled=settled,
    output:
        selection=SELECTION,
    log:
        log_of("select"),
    benchmark:
        benchmark_of("select")
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("select"),
        settings=settings("selection", only=["prefer_single_within"]),
    shell:
        "exec segflow select --job --candidates {input.summaries:q} --output {output.selection:q}"
        " --settings {params.settings:q} --log {log:q}"


rule postprocess_search:
    """Operations that raise the chosen candidate's out-of-fold score."""
    input:
        check=check_reports,
        selection=SELECTION,
        predictions=all_of(PREDICTIONS),
        settled=settled,
    output:
        postprocessing=POSTPROCESSING,
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
        description=description,
        meaning=meaning,
        settings=settings("postprocessing"),
    shell:
        "exec segflow postprocess-search --job --selection {input.selection:q}"
        " --dataset {params.description:q} --settings {params.settings:q}"
        " --output {output.postprocessing:q} --workers {threads} --log {log:q}"


rule postprocess:
    """The chosen candidate's out-of-fold label maps as a user would get them."""
    input:
        postprocessing=POSTPROCESSING,
        selection=SELECTION,
        predictions=all_of(PREDICTIONS),
        settled=settled,
    output:
        manifest=FINAL,
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
        description=description,
        meaning=meaning,
        predictions=f"{EXPERIMENT}/predictions",
        folds=of_dataset("folds"),
        folder=subpath(output.manifest, parent=True),
    shell:
        "exec segflow postprocess --job --postprocessing {input.postprocessing:q}"
        " --dataset {params.description:q} --selection {input.selection:q}"
        " --predictions {params.predictions:q} --folds {params.folds} --output {params.folder:q}"
        " --manifest {output.manifest:q} --workers {threads} --log {log:q}"


use rule evaluate as evaluate_final with:
    # The scores a user may expect: out-of-fold, after post-processing.
    input:
        check=check_reports,
        predictions=FINAL,
        patients=patients_file,
        settled=settled,
    output:
        summary=FINAL_SUMMARY,
    log:
        log_of("evaluate_final"),
    benchmark:
        benchmark_of("evaluate_final")


rule assess:
    """Distances, volumes, lesions, confusion and calibration of the chosen model. Nothing is chosen by them."""
    input:
        check=check_reports,
        selection=SELECTION,
        predictions=all_of(PREDICTIONS),
        final=FINAL,
        patients=patients_file,
        settled=settled,
    output:
        assessment=ASSESSMENT,
    log:
        log_of("assess"),
    benchmark:
        benchmark_of("assess")
    conda:
        "../../envs/cpu.yaml"
    threads: 4
    resources:
        mem_mb=8000,
        runtime=240,
    params:
        *code("assess"),
        description=description,
        meaning=meaning,
        settings=evaluation_settings,
        patients=of_dataset("patients"),
        probabilities=stored_probabilities,
        predictions=f"{EXPERIMENT}/predictions",
        folds=of_dataset("folds"),
        final=subpath(input.final, parent=True),
    shell:
        "exec segflow assess --job --selection {input.selection:q} --predictions {params.predictions:q}"
        " --folds {params.folds} --final {params.final:q} --dataset {params.description:q}"
        " {params.probabilities} --settings {params.settings:q} {params.patients:q} --output {output.assessment:q}"
        " --workers {threads} --log {log:q}"
