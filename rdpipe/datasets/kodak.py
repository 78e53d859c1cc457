"""The 24 images of the Kodak Lossless True Color Image Suite."""

from __future__ import annotations

import hashlib
from pathlib import Path

from rdpipe.core.errors import InputError
from rdpipe.datasets.download import dataset_folder, exclusive_access, fetch, file_sha256
from rdpipe.datasets.image import read_image
from rdpipe.datasets.source import Source

URL = "https://r0k.us/graphics/kodak/kodak"
"""Folder in which the images are published."""
DIGESTS = (
    ("a56e27cbf5f843c048b6af1d6e090760e9c92fadba88b7dee0205918a37523bd",
     "a00210743353594464ac67e680a41710f484444ca5f9dfddeb570de25c428273"),
    ("4f4b74a79237e311d72cad958237b5f7088d8bce1c82305ebefe1a70e3022dfd",
     "ae5a495df4ec40e0941265440ccf98973915b4190ab803e37a23ca93dd43a07e"),
    ("e25ca1ff2f0c0cb5fdfd5f9b0a0bb21ac4c3de3c84a67f35b09a85d3306249db",
     "234e61f585503f2a44400f5561131e8a512ef2c15328cd83d5cdbf10e2616cf2"),
    ("e3b946107c5d3441c022f678d0c3caf1e224d81b1604ba840a4f88e562de61aa",
     "e88e788fca00e6c723bb66ff45edb8cb56091ee284dcb73e3909834f2c96eeb6"),
    ("10349e963c5c813d327852f82c1795fa4148d69fedffc4c589bee458e3ac3d53",
     "ed3d1ee770909d3b27903b52ce19ee59a9bf24621a7bf1fb57b90677da880cb6"),
    ("363510303b715d4cbc384e1ce227e466b613a09e1b71ae985882bf8e7fbd9b18",
     "7f45158999fa297d1cfbd292b3e2f3f5b27770701c3473155c211c3f512cc97f"),
    ("b77d3f006f42414bb242222e0482e750c0fb9e5ee8d4bed2f6f11c5605fe54a4",
     "4e3664bf6fe865b49f15f7b554efa7dbecaf73ae0e8699f2e307bf07849f1264"),
    ("ba23983c76b4832ee0e8af0592664756841a16779acd69f792e268fb6d13d6e7",
     "889c3740e4ed54ca53d11ae735a44d15fa24fe312b3bd1609a80618a4092c208"),
    ("6a4361c2fc194feb4edaa9f9a4a0620fb9943e460ac7fdf037fb0f6dd6607a7d",
     "f8453140e63a42301a6dbebb849a3cc40d34e4e59580eb1f372f7f5460df0dbe"),
    ("9dfb70f5867c29ff9ed6313683f19b3d867849e40fbc0c4c54a4a89df341cf23",
     "fabe11b5c4f028394e093a5b5907e5fabc8072da0d5334fb3a38547a7e1be842"),
    ("7936814b58b5387fce2e4e2488b4ec830dadd95fa9520f358ddb30990b50f2b6",
     "ab4dd9bf8431e717d33892b3ba03c63bfea3c7fa72c2610010de7df3c194c075"),
    ("d78c37c2f04f23761ed2367dd77e2db584ddd4c3950833fecf89f199a8126980",
     "f412db2168e599949aac26bd3264f111b23a684f30a21cfd320e9e95bc69bbae"),
    ("bc34a3ce58dea09dce1704c997171602de90cb34d0c8503a988b77f473d39b08",
     "875703d56fb9396f478b5d7d3b18e2b77c17147a685c6dc2567e1c574aaf01e3"),
    ("55a94550ff18f3246c4074fd32b77b0c74447c26b6ad274d564d999c0450ba6e",
     "2bd5029ee75ac1697542e5b05624e8afe186e3250abd7513d6a806b52084c2f0"),
    ("7538cbb80cb9103606c48b806eae57d56c885c7f90b9b3be70a41160f9cbb683",
     "b5353e7511277009922ecbdebfc6418fec53aa1b2a08d44fc957a7540825697b"),
    ("a89c7268ccd4718ba424a99fc4643c572cf692ca6eae887185ceb4e9f11d2e54",
     "ed21745fd32fce95cc2c6af7fc52b1b15e590c7a14ab18ab34bd65ecaf955ac7"),
    ("37afcc89fbdcb76d9518e04b2fc011027e2f4cd14b3b2f83cefd721641a47c5b",
     "566bc866664e9b06dc86e2654051b454844efe17322dbf7e24156d8243f1943e"),
    ("1a9258c365988961d87a0598725b609139c303ad48a5aad6c503c3b1a87849aa",
     "3475af71066f3ca8206eb12cfc989ebe9c6e44820a96604e88ae018606e1f7bd"),
    ("b7450b264b1b0a411390d8931b112c27905a992520fc90569dc4b920aa32bbdc",
     "7956408ef24222d37ac53f579bd24d5b2c3557b16c657e8b71c1b6ae9f18de1b"),
    ("3b46c71e3b92a563820ba32936be8330c586c41f938efd94be938386aae4328a",
     "666ce8f2db5566a123bb081e70618f6f4c4253df960f3b41bb9dcc3dd134f3cf"),
    ("ac958597c82073f6bb65129c68f72b651db5b9efd82e11547d07350214bc268b",
     "2d6902daf7c4486b7c8c04d834091841a2b38c8f0c81cd7a963a6510b34a2a6a"),
    ("1cee58eb1f2d9c7ebb254d208a03c783ce6cf2c4d8c2cf45e235dd23b4ce1b29",
     "f430842120c108b67725ada96b8b7b2a914f6a0915eacd5595064c6c1a5d70a0"),
    ("e3111a2fd4da24af15d6459ef9eacfe54106b38e27b4a21821b75c3f5d2d5baf",
     "81992a83592267e69125666f3e3e04c1819529b4c4c1e55fde0a6a741bac4219"),
    ("1071c68372cc5a01435c2c225a5cf7d4bb803846ec08bb6b3d6721b156d7cb96",
     "e3e3ccc3e795b82a3da66934409dfe98ce0f5aadc6d7767543c506453599bb98"),
)  # fmt: skip
"""SHA-256 of each published PNG file, and of its decoded RGB samples."""


def find(root: str | None = None, url: str = URL) -> list[Source]:
    """Return the images ``kodim01.png`` to ``kodim24.png``, 768 x 512 or 512 x 768 pixels, 15 MB.

    The images are also distributed in other PNG encodings. A file is accepted if it is the
    published one, or decodes to the same samples.

    Parameters
    ----------
    root : str, optional
        Folder of the dataset, see :mod:`rdpipe.datasets.download`.
    url : str, optional
        Address of a mirror of the folder in which the images are published.

    Raises
    ------
    InputError
        If an image cannot be downloaded, or an existing file is another image.

    References
    ----------
    Eastman Kodak, PhotoCD PCD0992, from r0k.us/graphics/kodak.
    """
    folder = dataset_folder("kodak", root)
    files = {folder / f"kodim{i:02d}.png": pair for i, pair in enumerate(DIGESTS, 1)}
    if not all(file.exists() for file in files):
        all_files = "kodim01.png to kodim24.png"
        with exclusive_access("kodak", folder):
            for file, (digest, _) in files.items():
                if not file.exists():
                    fetch("kodak", f"{url.rstrip('/')}/{file.name}", file, digest, all_files)
    for file, (digest, samples) in files.items():
        if not (file_sha256(file) == digest or _sha256_of_samples(file) == samples):
            raise InputError(
                f"kodak: {file} is neither the published {file.name} nor another encoding of its"
                " samples; remove it to download it again"
            )
    return [Source(file.name, str(file)) for file in files]


def _sha256_of_samples(file: Path) -> str:
    """Return the SHA-256 of the RGB samples of an image, row by row; empty if it cannot be read."""
    try:
        return hashlib.sha256(read_image(str(file))[0].tobytes()).hexdigest()
    except InputError:
        return ""
