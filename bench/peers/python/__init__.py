"""The Python servers. They run with the packages of requirements/peers.txt."""
