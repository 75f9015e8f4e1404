"""Servers, proxies and processes that tests and benchmarks share."""
