"""Benchmarks that measure the figures in docs/benchmarks.md and docs/reliability.md.

They are not tests. Each has a limited duration and uses only the loopback interface.
"""
