"""The same codec with a real bitstream: its curve is achieved instead of achievable."""

import struct

import constriction
import numpy as np
import torch
from my_codec import SYMBOLS, MyCodec


class MyBitstream(MyCodec):
    def compress(self, image):
        coder = constriction.stream.queue.RangeEncoder()
        y = self.latents(image)
        indices = np.rint(y).astype(np.int32) - SYMBOLS[0]
        for index, table in zip(indices, self.tables, strict=True):
            model = constriction.stream.model.Categorical(table, perfect=False)
            coder.encode(index.ravel().astype(np.int32), model)
        return struct.pack(">II", *image.shape[:2]) + coder.get_compressed().tobytes()

    def decompress(self, stream):
        height, width = struct.unpack_from(">II", stream)
        shape = -(-height // 8), -(-width // 8)
        coder = constriction.stream.queue.RangeDecoder(np.frombuffer(stream, np.uint32, offset=8))
        y_hat = np.empty((len(self.tables), *shape))
        for channel, table in enumerate(self.tables):
            model = constriction.stream.model.Categorical(table, perfect=False)
            y_hat[channel] = coder.decode(model, shape[0] * shape[1]).reshape(shape) + SYMBOLS[0]
        return self.synthesise(torch.from_numpy(y_hat), height, width)
