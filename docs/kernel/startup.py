"""What every page's kernel runs first: a copy of the demonstration, and commands that must succeed.

A line such as `!targetsel select --rules emission` runs in the shell, and an exit status other than
0 ends the build; `|| true` behind it allows for one that is meant to fail.
"""

import os
import shutil
import subprocess
import sys
import warnings
from pathlib import Path

from IPython import get_ipython

# A command that takes long says so once a minute; a page shows the same on slow and fast machines.
SILENT = "from targetsel import cli, tasks; tasks.PER_LINE = float('inf'); cli.main()"
COMMAND = f'targetsel() {{ "{sys.executable}" -c "{SILENT}" "$@"; }}; export -f targetsel\n'


def copy_demonstration() -> None:
    """Copy the demonstration's files into the folder of the page."""
    source = Path(os.environ["TARGETSEL_DEMONSTRATION"])
    shutil.copytree(source, Path.cwd(), dirs_exist_ok=True, ignore=shutil.ignore_patterns("made"))


def run_checked(command: str) -> None:
    """Run a shell command, and show what it prints."""
    done = subprocess.run(
        ["bash", "-c", COMMAND + command],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    print(done.stdout, end="")
    if done.returncode:
        raise SystemError(f"exit status {done.returncode} of: {command}")


os.environ |= {"COLUMNS": "96", "NO_COLOR": "1", "OMP_NUM_THREADS": "1", "TERM": "dumb"}
warnings.filterwarnings("ignore", message="IProgress not found")  # of LSDB's bars
copy_demonstration()
get_ipython().system = run_checked
