"""segflow: from a labelled data set to a model package with honest scores.

snakemake --configfile my.yaml --cores N --resources gpu=1
"""

from snakemake.utils import min_version

min_version("9.20")


# Not workflow.basedir, which is the importer's where this file is used as a module.
configfile: f"{workflow.current_basedir}/config/config.yaml"


# For jobs in a container (--sdm apptainer): build envs/Dockerfile and name the image here.
# container: "segflow.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/stages.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/training.smk"
include: "workflow/rules/prediction.smk"
include: "workflow/rules/selection.smk"
include: "workflow/rules/outcome.smk"


rule all:
    default_target: True
    input:
        *FIRST_OUTPUTS,
        durable_outputs,
    localrule: True


# As in `snakemake models`.
for name, files in TARGETS.items():

    rule:
        name:
            name
        input:
            *FIRST_OUTPUTS,
            files,
        localrule: True


onstart:
    hold_results()


onsuccess:
    settle()
    show_outcome()
