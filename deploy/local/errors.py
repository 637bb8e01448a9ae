"""What stops the driver."""


class LocalError(Exception):
    """The local processes can't be run; the message is for the user: what, and the mend."""
