"""What the service reports of itself: logs, metrics, traces."""
