"""rdpipe: where a learned image codec loses its bits, and how far it is from the limit."""

from snakemake.utils import min_version

min_version("9.14")  # path variables


pathvars:
    results="results",
    logs="logs",


if not workflow.overwrite_configfiles:

    configfile: workflow.source_path("config/sample.yaml")


# With `--sdm apptainer`, jobs run in this file of the working directory; docs/howto/cluster.md says how to make it. A
# module leaves this to the workflow that uses it.
if not workflow.modifier.skip_configfile:

    container: "rdpipe.sif"


include: "workflow/rules/common.smk"
include: "workflow/rules/resources.smk"
include: "workflow/rules/fetch.smk"
include: "workflow/rules/data.smk"
include: "workflow/rules/codecs.smk"
include: "workflow/rules/latents.smk"
include: "workflow/rules/fits.smk"
include: "workflow/rules/gaps.smk"
include: "workflow/rules/maps.smk"
include: "workflow/rules/simulate.smk"
include: "workflow/rules/bitstreams.smk"
include: "workflow/rules/baselines.smk"
include: "workflow/rules/bounds.smk"
include: "workflow/rules/report.smk"


rule all:
    """The report, its tables and exported curves, and every network that the config trains."""
    input:
        REPORT,
        BOUNDS,
        EXPORTED,
        TRAINED,


onstart:
    start_fork_server()


onsuccess:
    if any(job.rule.name == "make_report" for job in workflow.dag.jobs):
        if STORED:
            print(f"The report is {path_in_storage(rules.make_report.output.page)}")
        else:
            shell(
                '{sys.executable:q} -P -m rdpipe show "$(dirname {rules.make_report.output.page:q})"'
            )
