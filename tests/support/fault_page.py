"""The fault matrix as docs/faults.md shows it: `PYTHONPATH=tests python -m support.fault_page`."""

import re
from pathlib import Path

from support.faults import MATRIX, Moment

PAGE = Path(__file__).resolve().parents[2] / "docs" / "faults.md"


def table(pool: str) -> str:
    """Return a pool's part of the matrix as a Markdown table."""
    lines = [
        f"| fault | {' | '.join(Moment)} | dead letter |",
        "|---" * (len(Moment) + 2) + "|",
    ]
    for fault, row in MATRIX[pool].items():
        ends = [
            "" if moment not in row else "done" if row[moment].why is None else "given up"
            for moment in Moment
        ]
        why = ", ".join(sorted({outcome.why for outcome in row.values() if outcome.why}))
        lines.append(f"| {fault} | {' | '.join(ends)} | {why} |")
    return "\n".join(lines)


def renewed(page: str) -> str:
    """Return the page with its tables as the code has them."""
    for pool in MATRIX:
        place = re.compile(rf"(<!-- {pool} -->\n).*?(\n<!-- end -->)", re.DOTALL)
        assert place.search(page), f"{PAGE}: has no place for the table of {pool}"
        page = place.sub(lambda found, pool=pool: found[1] + table(pool) + found[2], page)
    return page


if __name__ == "__main__":
    PAGE.write_text(renewed(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
