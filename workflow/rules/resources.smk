"""Memory and run time of the jobs, from the images of the manifest and from the work on each."""

from math import ceil, prod

from rdpipe.refinement.spec import RefinementSpec

KODAK = [768 * 512] * 24
"""Pixels of each image that stand for those of a dataset while it has no manifest."""


def scale_with_attempt(amount):
    """Return a resource (a text, or a function of the wildcards) that doubles with every retry."""

    def scaled(wildcards, attempt):
        text = amount(wildcards) if callable(amount) else amount
        number, unit = re.fullmatch("([0-9]+)([A-Za-z]+)", text).groups()
        return f"{int(number) * 2 ** (attempt - 1)}{unit}"

    return scaled


@cache
def pixels_in(manifest, time):
    """Return the pixels of each image of a manifest, which is read once for each time of change."""
    return [image["pixels"] for image in json.loads(manifest.read_text())["images"]]


def pixels_of(dataset):
    """Return the pixels of each image of a dataset.

    A plan without a manifest shows the resources for Kodak. Snakemake asks again when a job is
    ready.
    """
    manifest = Path(*expand_outputs(rules.prepare_dataset.output.manifest, dataset=dataset))
    return pixels_in(manifest, manifest.stat().st_mtime_ns) if manifest.exists() else KODAK


def memory(megabytes, megabytes_of_megapixel):
    """Return the memory of a job: a constant, and what the largest image needs.

    Images are processed one by one. The manifest has entries of all of them.
    """

    def amount(wildcards):
        pixels = pixels_of(getattr(wildcards, "dataset", config["calibration"]))
        of_image = megabytes_of_megapixel * max(pixels, default=0) / 1e6
        return f"{megabytes + ceil(of_image + 2e-3 * len(pixels))}MB"

    return scale_with_attempt(amount)


def run_time(minutes, seconds_of_megapixel, count=lambda w: 1, part=lambda w: [0, 1]):
    """Return the run time of a job: a constant, and the time of its shard of the images.

    That is proportional to their pixels and to a count, such as that of the curves.
    """

    def amount(wildcards):
        pixels = pixels_of(getattr(wildcards, "dataset", config["calibration"]))
        index, shards = part(wildcards)
        first, last = (len(pixels) * i // shards for i in (index, index + 1))
        seconds = seconds_of_megapixel * sum(pixels[first:last]) / 1e6 * count(wildcards)
        return f"{minutes + ceil(seconds / 60)}m"

    return scale_with_attempt(amount)


def table_rows():
    """Return the number of images, codecs and qualities of all measured datasets."""
    qualities = sum(len(entry["qualities"]) for entry in config["codecs"].values())
    return qualities * sum(len(pixels_of(name)) for name in query.measured_datasets(config))


def gap_cells(wildcards):
    """Return the number of cells of the array that are measured."""
    return sum(
        prod(map(len, query.gap_entries(config, component).values()))
        for component in query.COMPONENTS
    )


def refinement_passes(wildcards):
    """Return the number of steps of a refinement; its start and its bytes take about six more."""
    args = query.refined_codecs(config)[wildcards.codec]
    return 1 + RefinementSpec.from_mapping(args).steps / 6


def slowness_of_baseline(wildcards):
    """Return how much more time a baseline may take than those of rdpipe; programs are slow."""
    entry = config_entry("baselines", wildcards.baseline)
    return 240 if entry.get("use", wildcards.baseline) == "external" else 1


def gpus():
    """Return the number of GPUs of a stage that runs a codec."""
    return 1 if config["device"].startswith("cuda") else 0


def shared_submission(group, with_gpu=False, connected=False):
    """Return the group of a rule on a cluster; None if its jobs have a submission each.

    Snakemake adds up what the jobs of a submission that run at once request. So jobs that request
    GPUs share none, and neither do those of all shards, which the level of a dataset connects.
    """
    is_too_large = with_gpu and gpus() or connected and config["matching"] == "dataset"
    return None if runs_here or is_too_large else group


# Measured with `mini-mean-scale` (64 channels) on images of 0.4 to 2.4 megapixels: 0.35 GB for a
# megapixel through a decoder and 0.95 GB with gradients. The largest codecs of CompressAI have 192
# channels. Times are at least ten times those of an idle core.
CODEC_MEMORY = memory(1500, 1200)
GRADIENT_MEMORY = memory(2000, 3500)
ARRAY_MEMORY = memory(1000, 200)
