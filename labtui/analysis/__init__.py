"""Kappa, intervals, fits, comparisons: plain functions of ``store.rows``;
numpy and scipy load inside what needs them.
"""
