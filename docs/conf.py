"""The documents as a site, by Sphinx, in the repository's own layout, so that their links hold in both.

pip install -e '.[docs]' && sphinx-build -W -c docs . build/site
"""

from satxlate_jax import __version__

project, author, release = "satxlate_jax", "the satxlate_jax developers", __version__
root_doc = "README"
source_suffix = {".md": "markdown"}
include_patterns = ["*.md", "docs/*.md", "datasets/*/README.md", "launch/README.md"]
exclude_patterns = [".*", "build", "**/site-packages"]
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinxcontrib.mermaid"]
html_theme = "furo"
html_title = f"satxlate_jax {release}"
myst_heading_anchors = 3
myst_fence_as_directive = ["mermaid"]
autodoc_typehints = "none"  # the signature has them
autodoc_member_order = "bysource"
suppress_warnings = ["myst.header"]  # TFDS puts its own title above that of the data set

CONTENTS = """
```{toctree}
:hidden:
:caption: Guides
docs/tutorial
docs/public_data
docs/more
docs/your_own_satellite
docs/from_pytorch
docs/pod
launch/README
```
```{toctree}
:hidden:
:caption: Reference
docs/how_it_works
docs/results
docs/api
docs/configurations
The data set <datasets/geonex_l1g/README>
```
```{toctree}
:hidden:
:caption: Project
CONTRIBUTING
CHANGELOG
```
"""


def _add_contents(app, document, source):
    """Append to the README what GitHub does not need: the contents, from which the site's sidebar is made."""
    if document == root_doc:
        source[0] += CONTENTS


def setup(app):
    """Called by Sphinx."""
    app.connect("source-read", _add_contents)
