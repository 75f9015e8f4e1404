"""Middleware that puts the visitor's session into requests."""
