"""Files that commands write."""

from bionewsbot.cli.errors import CommandFailed


def write_file(path: str, text: str) -> None:
    """Write a text file as UTF-8. Raises CommandFailed, with the system's reason."""
    try:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
    except OSError as error:
        raise CommandFailed(f"{path}: {error.strerror}") from error
