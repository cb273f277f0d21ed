"""How Sphinx builds the documentation.

Pages are MyST notebooks: every code cell is executed when the page is built, in a folder of its own
with a fresh copy of the demonstration, and one that fails ends the build. The reference is written
from the package itself.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent
BUILD = HERE / "_build"
DEMONSTRATION = BUILD / "demonstration"
SOURCES = (".py", ".yaml")  # of the code that makes it
sys.path[:0] = [str(HERE), str(HERE.parent)]

import numpydoc.xref  # noqa: E402
from generated import link_commands_and_errors, types, write_python  # noqa: E402
from myst_nb.core.render import NbElementRenderer  # noqa: E402

from targetsel.cli.docs import write_reference  # noqa: E402
from targetsel.version import __version__  # noqa: E402

project = "targetsel"
author = "The targetsel developers"
copyright = "The targetsel developers, BSD-3-Clause"
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.viewcode",
    "numpydoc",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "kernel", "**.ipynb_checkpoints"]
html_theme = "furo"
html_title = "targetsel"
html_static_path = ["_static"]
html_css_files = ["narrow.css"]

myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
# Words such as <band>, --id and 'OIII' are printed as the commands print them.
myst_disable_syntax = ["html_block", "html_inline"]
smartquotes = False
# Shell lines that go on after a backslash are none of Python's, by which cells are coloured.
suppress_warnings = ["config.cache", "misc.highlighting_failure"]

# ---------------------------------------------------------------------- executed pages
nb_execution_mode = "cache"
nb_execution_cache_path = str(BUILD / "executed")
nb_execution_in_temp = True
nb_execution_raise_on_error = True
nb_execution_timeout = 600
nb_merge_streams = True

# ---------------------------------------------------------------------- the Python reference
autodoc_typehints = "none"
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
default_role = "py:obj"  # of names in single backticks
numpydoc_xref_param_type = True
numpydoc_xref_aliases = types()
numpydoc_xref_ignore = "all"  # other words of a type are words
numpydoc.xref.DEFAULT_LINKS.clear()  # to pages of Python and numpy, which are not here


def setup(app: object) -> None:
    """Link commands and errors in docstrings."""
    app.connect("missing-reference", link_commands_and_errors)


def make_demonstration() -> None:
    """Run `targetsel demo`, and start every page's kernel beside a copy of its folder.

    It is made anew where the code that makes it has changed.
    """
    sources = sorted((HERE.parent / "targetsel" / "mock").rglob("*"))
    digest = hashlib.sha256(
        b"".join(each.read_bytes() for each in sources if each.suffix in SOURCES)
    )
    made = DEMONSTRATION / "made"
    if not made.exists() or made.read_text() != digest.hexdigest():
        shutil.rmtree(DEMONSTRATION, ignore_errors=True)
        command = [sys.executable, "-m", "targetsel", "demo", str(DEMONSTRATION)]
        subprocess.run(command, check=True, cwd=HERE.parent, stdout=subprocess.DEVNULL)
        made.write_text(digest.hexdigest())
    profile = BUILD / "ipython" / "profile_default"
    (profile / "startup").mkdir(parents=True, exist_ok=True)
    shutil.copy(HERE / "kernel" / "startup.py", profile / "startup")
    # A kernel warns that others on this machine could listen; nothing in it is secret.
    (profile / "ipython_kernel_config.py").write_text("get_config().IPKernelApp.log_level = 40\n")
    os.environ["IPYTHONDIR"] = str(BUILD / "ipython")
    os.environ["TARGETSEL_DEMONSTRATION"] = str(DEMONSTRATION)
    os.environ["PYTHONPATH"] = os.pathsep.join(
        filter(
            None, [str(HERE.parent), str(HERE.parent / "examples"), os.environ.get("PYTHONPATH")]
        )
    )


def described(render):
    """Give pictures that cells show the alternative text of `Image(..., alt=...)`.

    MyST-NB leaves it out. A picture without one gives a warning, which ends the build.
    """

    def render_image(self, data):
        images = render(self, data)
        alt = data.output_metadata.get(data.mime_type, {}).get("alt")
        if not alt:
            self.logger.warning("a picture has no alternative text", line=data.line)
        for image in images:
            image["alt"] = alt or ""
        return images

    return render_image


NbElementRenderer.render_image = described(NbElementRenderer.render_image)
make_demonstration()
write_python(HERE / "reference")
write_reference(HERE / "reference")
