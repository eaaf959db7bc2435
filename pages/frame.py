"""The frame around every page: page configuration, navigation and notices."""

from pathlib import Path

import streamlit as st

from db.values.accounts import Permission
from pages.ui import resources
from pages.ui.missing_page import missing_page
from pages.ui.notices import draw_notices
from pages.ui.reading import edit_time

_UI = Path(__file__).parent / "ui"

# First, because the gate asks to whom the icon and the logo were given.
resources.remember_tab()
# A local image, because Streamlit's icon fonts would be loaded from a font host.
st.set_page_config(page_title="Second Read", page_icon=str(_UI / "icon.svg"), layout="wide")
st.logo(str(_UI / "logo.svg"), size="medium")
reads, single_reader = resources.may(Permission.READ_CASES), resources.single_reader_mode()
candidates = [  # whether the page is shown, its file, its title
    (reads, "worklist.py", "Worklist"),
    (reads, "upload_cases.py", "Upload cases"),
    (reads, "read_case.py", "Read a case"),
    (reads and resources.reads_in_studies(), "read_study.py", "Study"),
    (resources.may(Permission.ADJUDICATE) and not single_reader, "adjudicate.py", "Adjudication"),
    (resources.may(Permission.SEE_AGREEMENT), "agreement.py", "Agreement"),
    (True, "evaluation.py", "Evaluation"),
    (True, "domain_shift.py", "Domain shift"),
    (True, "models.py", "Models"),
    (resources.may(Permission.PLAN_READING) and not single_reader, "planning.py", "Planning"),
    (resources.may(Permission.PLAN_READING), "studies.py", "Studies"),
    (resources.may(Permission.ADMINISTER) and not single_reader, "accounts.py", "Accounts"),
    (resources.may(Permission.ADMINISTER), "audit.py", "Audit trail"),
]
(first, first_title), *others = [(file, title) for is_shown, file, title in candidates if is_shown]
pages = [
    st.Page(first, title=first_title, url_path="", default=True),
    *(st.Page(file, title=title) for file, title in others),
    # The first page also under its own name: a link may come from a colleague whose first page is another.
    st.Page(first, title=first_title, visibility="hidden"),
    st.Page("meet_model.py", title="Meet the model", visibility="hidden"),
    *(
        st.Page(missing_page(title), title=title, url_path=Path(file).stem, visibility="hidden")
        for is_shown, file, title in candidates
        if not is_shown
    ),
]
page = st.navigation(pages, position="top")
st.html(_UI / "style.css")
draw_notices(page.title)
edit_time.enter_page(page.url_path)
page.run()
