"""The examples in the README and in all other pages run as pasted."""
