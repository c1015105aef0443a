"""A very small job: `squares:square`."""


def square(number: int) -> int:
    """The square of a number."""
    return number * number
