"""Splits, PyTorch and TorchGeo datasets."""
