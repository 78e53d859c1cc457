"""What is read and written: Zarr stores, the JSON of CompressAI, and sources of the code."""
