"""``python -m fgq_bench``, and ``fgq-bench``."""

from __future__ import annotations

import sys


def main() -> None:
    """The command line; ^C ends with 130 at every moment, while it is imported, too."""
    try:
        from fgq_bench import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
