"""Failure forecasts: calibrated curves per component, with reasons, or unknown."""
