"""Read and write Zarr stores and the JSON of CompressAI; read the sources of the code."""
