"""The same codec with a coder of its own: its curve counts the bytes that this coder writes."""

import struct

import constriction
import numpy as np
import torch
from my_codec import SYMBOLS, MyCodec

from rdpipe.core.running import padded_size, to_image, to_tensor


class MyBitstream(MyCodec):
    def compress(self, image):
        coder = constriction.stream.queue.RangeEncoder()
        y = self.latents(to_tensor(self, image)).reshape(192, -1)
        indices = y.round().int().numpy() - SYMBOLS[0].astype(np.int32)
        for index, table in zip(indices, self.tables.numpy(), strict=True):
            coder.encode(index, constriction.stream.model.Categorical(table, perfect=False))
        return struct.pack(">II", *image.shape[:2]) + coder.get_compressed().tobytes()

    def decompress(self, stream):
        size = struct.unpack_from(">II", stream)
        rows, columns = (side // 8 for side in padded_size(self, *size))
        coder = constriction.stream.queue.RangeDecoder(np.frombuffer(stream, np.uint32, offset=8))
        y_hat = torch.empty(192, rows * columns)
        for channel, table in enumerate(self.tables.numpy()):
            model = constriction.stream.model.Categorical(table, perfect=False)
            y_hat[channel] = torch.from_numpy(coder.decode(model, rows * columns)) + SYMBOLS[0]
        return to_image(self.pixels(y_hat.view(3, 8, 8, rows, columns)), *size)
