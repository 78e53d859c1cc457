"""Recompute a rung of the ladder from the numbers of single images, and compare with ladder.csv.

python ladder_by_hand.py RESULTS DATASET CODEC RUNG, such as
python ladder_by_hand.py results sample mini-mean-scale codec/codec/rounding

A rung that is a cell stands at the PSNR of the codec's pictures. Its rate at a quality is the mean
over images. Over the curve, it is the mean of ln(rate) over the range of PSNR that all rungs have
in common; only jointly trained ones have a range of their own. The two columns are the rates at
each quality and ln(rate) over the curve, by hand and in ladder.csv. A run with `quality_measure:
ms-ssim` has `ms_ssim` in the place of `psnr`.
"""

import sys

import numpy as np
import pandas as pd
import xarray as xr
from scipy.interpolate import PchipInterpolator
from zarr.storage import ZipStore

results, dataset, codec, rung = sys.argv[1:]
own = f"dataset == '{dataset}' and codec == '{codec}'"

store = ZipStore(f"{results}/bounds.zarr.zip", mode="r")
images = xr.open_zarr(store, group="image_points", consolidated=False).to_dataframe().query(own)
mean = images.groupby(["role", "curve", "quality"])[["bpp", "psnr"]].mean()
_, ladder = next(iter(pd.read_csv(f"{results}/ladder.csv").query(own).groupby("limit", sort=False)))
spans = mean.query("role == 'codec' or role == 'joint' and curve in @ladder.name")["psnr"]
low, high = spans.groupby("curve").min().max(), spans.groupby("curve").max().min()
bpp, psnr = mean.loc[("cell", rung)]["bpp"], mean.loc[("codec", "codec")]["psnr"]
log_rate = PchipInterpolator(psnr, np.log(bpp)).integrate(low, high) / (high - low)
rows = ladder[ladder["name"] == rung].drop_duplicates("quality")
print(np.c_[[*bpp, log_rate], rows["bpp"].fillna(rows["log_rate"])])
