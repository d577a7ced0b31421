"""The card folders travel in the wheel as ``fgq_bench/_content``; an editable install reads them where they are."""

from pathlib import Path
from shutil import copytree, ignore_patterns

from setuptools import setup
from setuptools.command.build_py import build_py

CARDS = ("methods", "datasets", "reports")


class BuildWithCards(build_py):
    """Copy the card folders into the built package."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for name in CARDS:
            target = Path(self.build_lib, "fgq_bench", "_content", name)
            copytree(name, target, dirs_exist_ok=True, ignore=ignore_patterns("latest"))


setup(cmdclass={"build_py": BuildWithCards})
