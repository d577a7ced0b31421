"""``python -m fgq_bench``, and ``fgq-bench``."""

from __future__ import annotations

import signal
import sys

from fgq_bench.processes import end_in_order, wait_passively


def main() -> None:
    """The command line as a process: ^C ends it with 130 at every moment, SIGTERM in order, and it never spins."""
    wait_passively()
    signal.signal(signal.SIGTERM, end_in_order)
    try:
        from fgq_bench import cli

        cli.main()
    except KeyboardInterrupt:
        sys.exit(130)


if __name__ == "__main__":
    main()
