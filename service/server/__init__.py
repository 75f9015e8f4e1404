"""The processes: supervisor, workers, listening socket."""
