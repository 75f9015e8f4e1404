"""Settings: their declaration, checks, and reading them from file and environment."""
