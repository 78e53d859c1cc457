"""Streams of codecs of every shape, and what they decode to.

``python portable_streams.py FOLDER THREADS`` decodes all streams of a folder and prints a digest of
the decoded latents and of the priors for each codec, as JSON.
"""

import hashlib
import json
import pickle
import sys
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
sys.path.append(str(HERE.parents[1] / "examples"))

import small_codecs  # noqa: E402
from extracting import extract  # noqa: E402
from small_models import REPRESENTATIVE, adapt, coding_model, small_model  # noqa: E402

from rdpipe.codecs import bitstream  # noqa: E402
from rdpipe.codecs.linear import klt  # noqa: E402
from rdpipe.codecs.structure import find_structure  # noqa: E402
from rdpipe.core.axes import AXES, CellId  # noqa: E402
from rdpipe.core.kinds import Reconstruction  # noqa: E402
from rdpipe.core.latent_arrays import as_latents  # noqa: E402
from rdpipe.core.running import decode_image  # noqa: E402
from rdpipe.datasets import gaussian_field  # noqa: E402
from rdpipe.datasets.image import read_image  # noqa: E402
from rdpipe.entropy.coder import Decoder, Encoder  # noqa: E402
from rdpipe.entropy.coding_walk import CodingWalk  # noqa: E402
from rdpipe.entropy.precision import decoding, in_float64  # noqa: E402
from rdpipe.evaluation import bitstreams  # noqa: E402
from rdpipe.evaluation.cell import Cell  # noqa: E402
from rdpipe.evaluation.simulation import own_past  # noqa: E402
from rdpipe.quantizers.reconstruction import KNOTS  # noqa: E402

SMALL_CODECS = ("Corrected", "Hierarchical", "MixtureRaster", "FourPart", "Stepped", "Overfitted")
SOURCE = {"rho": 0.9, "sigma": 40.0, "size": 128}
CELLS = {
    "mbt2018-mean": [
        *(CellId("codec", "codec", name) for name in ("rounding", "deadzone", "trellis")),
        CellId("codec", "codec", "lattice-e8"),
        CellId("codec", "codec", "lattice-e8", Reconstruction.CALIBRATED),
        CellId("codec", "block-2", "trellis", Reconstruction.CALIBRATED),
        CellId("codec", "block-2", "rounding"),
        CellId("zero", "causal-window", "trellis"),
        CellId("codec", "causal-window", "lattice-e8"),
    ],
    "mbt2018-checkerboard": [
        *(CellId("codec", "codec", name) for name in ("rounding", "deadzone", "trellis")),
        CellId("codec", "codec", "lattice-e8"),
        CellId("codec", "codec", "deadzone", Reconstruction.CALIBRATED),
        CellId("hyper", "block-2", "rounding"),
        CellId("hyper", "causal-window", "deadzone"),
    ],
}
"""Cells of codecs without and with a context model."""
GAIN = np.linspace(1.8, 1.0, len(KNOTS))
"""Of calibrated reconstructions."""


class RecordingWalk(CodingWalk):
    """Keeps digests of all decoded indices, and of the priors before they are rounded."""

    def __init__(self, coder):
        super().__init__(coder)
        self.latents, self.priors = hashlib.sha256(), hashlib.sha256()

    def decode(self, part):
        y_hat = super().decode(part)
        for x, digest in (
            (self.record[-1].index, self.latents),
            (part.prior.mean, self.priors),
            (part.prior.scale, self.priors),
        ):
            digest.update(x.detach().contiguous().numpy().tobytes())
        return y_hat


def photo(height, width):
    """Return an image with a smooth background, an edge and fine texture."""
    rng = np.random.default_rng(0)
    row, column = np.mgrid[:height, :width] / 64
    gray = 90 + 40 * np.sin(3 * row) * np.cos(2 * column) + 60 * (column > 0.9 + 0.3 * row)
    gray = gray[..., None] * [1.0, 0.95, 0.85] + rng.normal(0, 4, (height, width, 3))
    return gray.clip(0, 255).astype(np.uint8)


def field():
    """Return a Gaussian field."""
    return read_image(gaussian_field.find(count=1, **SOURCE)[0].file)[0][:100, :90]


def make_codecs():
    """Return codecs by name, and the image of each."""
    codecs = {name: (adapt(coding_model(name)), photo(130, 190)) for name in REPRESENTATIVE}
    codecs["klt"] = klt(1, steps=[20.0], **SOURCE), field()
    for name in SMALL_CODECS:
        codecs[name] = getattr(small_codecs, name)(3), photo(66, 90)
    return codecs


def save(codec, file):
    """Write a codec with its weights: a decoder cannot compute them, which may round otherwise."""
    if hasattr(codec, "model"):
        torch.save(dict(codec._source.named_parameters()), file)
    else:
        file.write_bytes(pickle.dumps(codec))


def load(name, file):
    """Return the codec of a file."""
    if name not in REPRESENTATIVE:
        return pickle.loads(file.read_bytes())
    model, weights = small_model(name), torch.load(file)
    with torch.no_grad():
        for parameter, weight in weights.items():
            model.get_parameter(parameter).copy_(weight)
    return adapt(model.eval())


def cells_of(codec, cell_id):
    """Return the cell of a codec for its only latent."""
    structure = find_structure(codec)
    if cell_id.mean == cell_id.variance == "codec":
        structure = own_past(structure)
    entries = {axis.section: {name: {}} for axis, name in zip(AXES, cell_id[:3], strict=True)}
    fits = {("reconstruction", cell_id.quantizer): {"y": {"gain": GAIN}}}
    return {"y": Cell.from_entries(cell_id, entries, fits, structure)}


def write(folder):
    """Write codecs and streams to a folder; return what a decoder must obtain, as `read` does."""
    results = {}
    for name, (codec, image) in make_codecs().items():
        save(codec, folder / f"{name}.codec")
        (folder / f"{name}.stream").write_bytes(bitstream.encode(codec, image))
        with in_float64(codec) as precise:
            walk = RecordingWalk(Encoder())
            decoded = decode_image(precise, walk, image)
        results[name] = digests(walk, decoded)
        for cell_id in CELLS.get(name, ()):
            _, arrays = extract(codec, "a", image)
            latents = [as_latents("a", array) for array in arrays.values()]
            cells, file = cells_of(codec, cell_id), f"{name}={str(cell_id).replace('/', '=')}"
            stream, decoded = bitstreams.encode(codec, cells, latents, image, 2**63)
            (folder / f"{file}.cell").write_bytes(stream)
            results[file] = digest_of(*decoded.y_hat)
    return results


def read(folder):
    """Decode all streams of a folder; return digests of latents, priors and image by name."""
    results = {}
    for file in folder.glob("*.codec"):
        name = file.stem
        codec, stream = load(name, file), (folder / f"{name}.stream").read_bytes()
        with in_float64(codec) as precise:
            end = bitstream.HEADER.size
            coder = Decoder(stream[end:], stream[:end])
            walk = RecordingWalk(coder)
            with decoding(coder):
                _, *size = bitstream.HEADER.unpack_from(stream)
                decoded = decode_image(precise, walk, size=tuple(size))
        results[name] = digests(walk, decoded)
        for cell in folder.glob(f"{name}=*.cell"):
            cells = cells_of(codec, CellId.parse("/".join(cell.stem.split("=")[1:])))
            decoded = bitstreams.decode(codec, cells, cell.read_bytes())
            results[cell.stem] = digest_of(*decoded.y_hat)
    return results


def digests(walk, decoded):
    """Return digests of the latents and the priors of a walk, and mean and energy of the image."""
    levels = decoded.astype(float)
    return {
        "latents": walk.latents.hexdigest(),
        "priors": walk.priors.hexdigest(),
        "image": [levels.mean(), np.square(levels).mean() ** 0.5],
    }


def digest_of(*tensors):
    """Return the digest of numbers."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


if __name__ == "__main__":
    torch.set_num_threads(int(sys.argv[2]))
    print(json.dumps(read(Path(sys.argv[1]))))
