"""Trials: one fault each, under load, against a service and servers of their own."""
