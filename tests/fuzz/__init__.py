"""What schemathesis is told, and the run of it."""
