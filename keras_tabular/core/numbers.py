"""Numbers as readers see them, and as decisions compare them."""

MOST_DIGITS = 15  # that a float holds
UNDEFINED = "–"


def format_number(value: float | None, *compared_with: float | None) -> str:
    """Format a number with three significant digits, or as many as tell it apart from others.

    A share below 1 is never shown as 1, and an undefined number is "–".
    """
    if value is None:
        return UNDEFINED
    different = {1.0} if value < 1 else set()
    different |= {other for other in compared_with if other is not None} - {value}
    for digits in range(3, MOST_DIGITS):
        text = _with_digits(value, digits)
        if text not in {_with_digits(other, digits) for other in different}:
            return text
    return _with_digits(value, MOST_DIGITS)


def round_for_comparison(value: float) -> float:
    """Round to 10 significant digits, before a decision depends on which number is smaller.

    NumPy's logarithms and powers differ in the last bit between CPUs, and means of them do too.
    Numbers that are equal but for the last bits are equal once they are rounded, and a tie is
    decided alike everywhere. A border between two rounded numbers remains, but numbers that lie
    within 1e-15 of it are rare, while ties are common.
    """
    return float(f"{value:.10g}")


def _with_digits(value: float, digits: int) -> str:
    """Format a number with significant digits; those before the point are always in full."""
    exponent = int(f"{value:.{digits - 1}e}".partition("e")[2])
    if exponent >= MOST_DIGITS:
        return f"{value:.{digits}g}"
    decimals = max(digits - 1 - exponent, 0)
    return f"{round(value, decimals) + 0.0:,.{decimals}f}"  # and no -0
