"""The error a user can mend."""


class InputError(ValueError):
    """A mistake in what the user gave; its message says what is wrong and what is allowed.

    The command line prints the message alone, without a stack trace.
    """
