"""The handlers of the routes. Each module has one subject."""
