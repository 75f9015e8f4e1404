"""Inputs for every parser of the service, and the properties that must hold."""
