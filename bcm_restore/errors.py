"""The errors that a user is meant to see."""


class RestoreError(ValueError):
    """Something the user can put right: a bad file, option, mask or scheme.

    The message is one line that names the file or option and the way out. The command line prints it and exits with
    status 2, without a traceback.
    """


class RestoreWarning(UserWarning):
    """Something that the user may want to know and that stops nothing. The command line prints it as one line."""


class NoRoom(RestoreError):  # noqa: N818
    """The disk or the quota is full: whatever else is to be written will fail, too."""


class NothingToRestore(RestoreError):  # noqa: N818
    """The input shows no trace of the damage that the task undoes."""
