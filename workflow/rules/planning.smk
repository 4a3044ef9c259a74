"""The rule-based parameters."""


checkpoint plan:
    """Spacing, patch, batch and network of every configuration."""
    input:
        fingerprint=f"{RESULTS}/dataset_fingerprint.json",
        description=DESCRIPTION,
    output:
        plan=f"{RESULTS}/plans.json",
    log:
        log_of("plan"),
    benchmark:
        benchmark_of("plan")
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=1000,
        runtime=10,
    params:
        recipe=CONFIG.recipe,
        changes=planning_options(),
    shell:
        "segflow plan --dataset {input.description:q} --fingerprint {input.fingerprint:q}"
        " --recipe {params.recipe} {params.changes} --output {output.plan:q} --log {log:q}"
