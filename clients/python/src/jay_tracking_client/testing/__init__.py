"""A fake of the service for tests of programs that use the client."""
