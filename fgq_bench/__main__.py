"""``python -m fgq_bench``."""

from fgq_bench.cli import main

if __name__ == "__main__":
    main()
