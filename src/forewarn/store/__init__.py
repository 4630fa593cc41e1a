"""Telemetry stores: they keep samples and compute the feature catalogue where the samples are."""
