"""The rule-based parameters."""


checkpoint plan:
    """Spacing, patch, batch and network of every configuration; a part for each stage that reads it."""
    input:
        description=ancient(description),
        fingerprint=f"{DATASET}/dataset_fingerprint.json",
        edited=[CONFIG.plan] if CONFIG.plan else [],
        settled=check_reports,
    output:
        plan=f"{PLAN}/plans.json",
        network=expand(f"{PLAN}/network/{{name}}.json", name=PLANS.names, allow_missing=True),
        preparation=expand(
            f"{PLAN}/preparation/{{name}}.json", name=PLANS.names, allow_missing=True
        ),
    log:
        log_of("plan/{plan}", DATASET),
    benchmark:
        benchmark_of("plan/{plan}", DATASET)
    localrule: True
    conda:
        "../../envs/cpu.yaml"
    params:
        *code("plan"),
        meaning=meaning,
        how=planning_option,
        parts=subpath(output.plan, parent=True),
    shell:
        "exec segflow plan --job --dataset {input.description:q} --fingerprint {input.fingerprint:q}"
        " {params.how:q} --parts {params.parts:q} --output {output.plan:q} --log {log:q}"
