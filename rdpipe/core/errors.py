"""The error that a user can correct."""


class InputError(ValueError):
    """An invalid input.

    The message names the invalid value and the allowed ones. The command line prints the message
    alone, without a traceback, and ends with status 2.
    """
