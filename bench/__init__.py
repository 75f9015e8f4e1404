"""Benchmarks: figures for docs/benchmarks.md, never tests. Each is bounded in time and uses the loopback only."""
