"""Client of the Jay tracking service. README.md lists the modules."""

__version__ = "0.1.0"
