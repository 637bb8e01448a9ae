"""How a benchmark prints what it found."""

from collections.abc import Sequence


def table(title: str, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table: names to the left, numbers to the right."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    names = {column for column in range(len(header)) if not header[column]}
    print(f"\n{title}")
    for line in lines:
        cells = [
            cell.ljust(width) if column in names else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        print("  " + "  ".join(cells).rstrip(), flush=True)


def with_ratio(value: float, plain: float, form: str) -> list[str]:
    """Return a value as text, and its ratio to the plain peer's."""
    return [format(value, form), f"{value / plain:.2f}" if plain > 0 else "-"]
