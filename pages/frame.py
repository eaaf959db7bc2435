"""The frame around every page: page config, navigation, and what must stand on every page."""

from pathlib import Path

import streamlit as st

from db.access_values import Permission
from pages.ui import panels, resources

_UI = Path(__file__).parent / "ui"

# A local picture: Streamlit's own icon fonts would be fetched from a font host.
st.set_page_config(page_title="Second Read", page_icon=str(_UI / "icon.svg"), layout="wide")
st.logo(str(_UI / "logo.svg"), size="medium")
resources.remember_tab()
pages = [
    st.Page("evaluation.py", title="Evaluation"),
    st.Page("domain_shift.py", title="Domain shift"),
    st.Page("models.py", title="Models"),
]
if resources.may(Permission.SEE_AGREEMENT):
    pages.insert(0, st.Page("agreement.py", title="Agreement"))
if resources.may(Permission.READ_CASES):
    pages = [
        st.Page("worklist.py", title="Worklist", default=True),
        st.Page("upload_cases.py", title="Upload cases"),
        st.Page("read_case.py", title="Read a case"),
        *pages,
    ]
if resources.may(Permission.ADMINISTER) and not resources.single_reader_mode():
    pages.append(st.Page("accounts.py", title="Accounts"))
page = st.navigation(pages, position="top")
st.html(_UI / "style.css")
panels.standing_notices()
page.run()
