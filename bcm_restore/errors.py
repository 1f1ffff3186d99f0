"""Errors for the user."""


class RestoreError(ValueError):
    """An error that the user can fix: a bad file, option, mask or scheme.

    The message is one line that names the file or option and the fix. The command line prints it and exits with
    status 2, without a traceback.
    """


class RestoreWarning(UserWarning):
    """A warning for the user; processing continues. The command line prints it as one line."""


class DiskFull(RestoreError):  # noqa: N818
    """The disk or the quota is full: all further writes will fail too."""


class NothingToRestore(RestoreError):  # noqa: N818
    """The input shows no sign of the damage that the task undoes."""
