"""The one exception that a command shows as a message and not as a traceback."""


class UserError(Exception):
    """A mistake that its maker can mend; says where, what was found, what is allowed."""
