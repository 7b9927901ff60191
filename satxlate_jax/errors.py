"""What the user handed in cannot be used: the exception that says so."""


class InputError(ValueError):
    """A mistake in what was handed in (path, option, file, configuration).

    Its message is one line that says what is wrong, where, and what to do. The command line prints it
    without a traceback and exits with code 2; Python users can catch it.
    """
