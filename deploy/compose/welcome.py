"""`python -m deploy.compose.welcome`, in a container once all is healthy: the first run, if it is.

What it shows is what `make up` without Docker shows.
"""

import sys

from rich.console import Console

from bionewsbot.errors import BioNewsBotError
from bionewsbot.settings import current
from deploy.local import stack, welcome
from deploy.local.errors import LocalError


def main() -> int:
    """Run the daily analysis unless the ledger knows one; return the exit code."""
    try:
        if not welcome.has_run():
            welcome.first_run()
            welcome.results(stack.plan(current()), Console())
    except (LocalError, BioNewsBotError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Interrupted; the run goes on.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
