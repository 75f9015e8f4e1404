"""The configuration of schemathesis and its hooks."""
