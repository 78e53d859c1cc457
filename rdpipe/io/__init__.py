"""Read and write the files of the workflow: Zarr stores, and the JSON of CompressAI's tools."""
