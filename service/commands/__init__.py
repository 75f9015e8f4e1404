"""What the command line does beside serving: one module for each command, and what they share."""
