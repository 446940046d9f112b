"""How the documentation is built: ``make docs``."""

from __future__ import annotations

import sys
from pathlib import Path

import airflow_provider_trifacta

sys.path.insert(0, str(Path(__file__).parent))

project = "airflow-provider-trifacta"
author = "The authors of airflow-provider-trifacta"
release = airflow_provider_trifacta.__version__

extensions = ["myst_parser", "sphinx.ext.autodoc", "reference_from_code"]
exclude_patterns = ["reference/_*"]
html_theme = "furo"
html_title = f"{project} {release}"

myst_enable_extensions = ["colon_fence"]
# So that pages can link to headings of other pages.
myst_heading_anchors = 3

autodoc_typehints = "signature"
autodoc_member_order = "bysource"
# What an argument is, not how the annotation of a dozen types is spelt.
autodoc_type_aliases = {
    name: name for name in ("Id", "Names", "DateFilter", "FilterType", "JsonObject", "Context")
}
# One argument a line.
python_maximum_signature_line_length = 90
