"""The frame around every page: page config, navigation, and what must stand on every page."""

from pathlib import Path

import streamlit as st

from db.values.accounts import Permission
from pages.ui import resources
from pages.ui.notices import standing_notices
from pages.ui.reading import edit_time

_UI = Path(__file__).parent / "ui"

# A local picture: Streamlit's own icon fonts would be fetched from a font host.
st.set_page_config(page_title="Second Read", page_icon=str(_UI / "icon.svg"), layout="wide")
st.logo(str(_UI / "logo.svg"), size="medium")
resources.remember_tab()
reads, alone = resources.may(Permission.READ_CASES), resources.single_reader_mode()
offered = [
    (reads, "worklist.py", "Worklist"),
    (reads, "upload_cases.py", "Upload cases"),
    (reads, "read_case.py", "Read a case"),
    (reads and resources.reads_in_studies(), "read_study.py", "Study"),
    (resources.may(Permission.ADJUDICATE) and not alone, "adjudicate.py", "Adjudication"),
    (resources.may(Permission.SEE_AGREEMENT), "agreement.py", "Agreement"),
    (True, "evaluation.py", "Evaluation"),
    (True, "domain_shift.py", "Domain shift"),
    (True, "models.py", "Models"),
    (resources.may(Permission.PLAN_READING) and not alone, "planning.py", "Planning"),
    (resources.may(Permission.PLAN_READING), "studies.py", "Studies"),
    (resources.may(Permission.ADMINISTER) and not alone, "accounts.py", "Accounts"),
    (resources.may(Permission.ADMINISTER), "audit.py", "Audit trail"),
]
(first, first_title), *others = [(file, title) for wanted, file, title in offered if wanted]
pages = [
    st.Page(first, title=first_title, url_path="", default=True),
    *(st.Page(file, title=title) for file, title in others),
    # The first page at its name as well, which a colleague whose first page is another may have sent.
    st.Page(first, title=first_title, visibility="hidden"),
]
page = st.navigation(pages, position="top")
st.html(_UI / "style.css")
standing_notices()
edit_time.enter_page(page.url_path)
page.run()
