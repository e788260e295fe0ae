"""How numbers are formatted for readers, and how they are rounded before they are compared."""

MAX_DIGITS = 15  # significant digits of a float
UNDEFINED = "–"


def format_number(value: float | None, *compared_with: float | None) -> str:
    """Format a number with three significant digits, or with more to tell it apart from others.

    A number below 1 is never shown as 1, and an undefined number is "–".
    """
    if value is None:
        return UNDEFINED
    different = {other for other in compared_with if other not in (None, value)}
    if value < 1:
        different.add(1.0)
    for digits in range(3, MAX_DIGITS):
        text = _with_digits(value, digits)
        if text not in {_with_digits(other, digits) for other in different}:
            return text
    return _with_digits(value, MAX_DIGITS)


def _with_digits(value: float, digits: int) -> str:
    """Format a number with significant digits; those before the point are always shown."""
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    if exponent >= MAX_DIGITS:
        return f"{value:.{digits}g}"
    decimals = max(digits - 1 - exponent, 0)
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"  # + 0.0 turns -0.0 into 0.0


def round_for_comparison(value: float) -> float:
    """Round to 10 significant digits, before a decision depends on which number is smaller.

    The last bits of NumPy's logarithms and powers, and of means of them, differ between CPUs.
    After rounding, numbers that differ only in these bits are equal, so that ties are decided in
    the same way everywhere. Two such numbers can still be rounded differently if they lie within
    1e-15 of the border between two rounded numbers, but this is rare, while ties are common.
    """
    return float(f"{value:.10g}")
