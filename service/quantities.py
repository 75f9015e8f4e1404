"""Numbers with a unit, for people."""


def quantity(number: int, unit: str) -> str:
    """Return a number with its unit, such as `1 day` or `2,500 days`."""
    return f"{number:,} {unit}" if number == 1 else f"{number:,} {unit}s"
