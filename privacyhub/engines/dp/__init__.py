"""Differential privacy: accounting, sampling, clipping, training and inference.

The modules that train (`clipping`, `optimizers`, `training`, `reference`) import
TensorFlow and belong in a worker's child. All others are light enough for the web
process.
"""
