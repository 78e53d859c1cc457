"""The specification of a training of a few seconds."""

SPEC = {
    "N": 8,
    "M": 8,
    "lambdas": [0.01, 0.04],
    "mean": "hyper",
    "variance": "hyperprior",
    "quantizer": "ste",
    "steps": 12,
    "batch": 2,
    "crop": 64,
    "learning_rate": 0.003,
    "seed": 1,
    "precision": "32-true",
    "device": "cpu",
    "devices": 1,
    "save_every": 2,
}
