"""A program as a baseline.

python my_baseline.py encode QUALITY INPUT OUTPUT
python my_baseline.py decode INPUT OUTPUT
"""

import sys

from PIL import Image

if sys.argv[1] == "encode":
    quality, source, stream = sys.argv[2:]
    Image.open(source).save(stream, "JPEG", quality=int(quality), subsampling="4:4:4")
else:
    stream, decoded = sys.argv[2:]
    Image.open(stream).save(decoded)
