"""All code that relies on private parts of aiohttp."""
