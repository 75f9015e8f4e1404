"""HTTP: routes, what stands around every request, and the handlers. Knows nothing of Redis."""
