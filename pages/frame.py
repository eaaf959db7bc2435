"""The frame around every page: page config, navigation, and what must stand on every page."""

from pathlib import Path

import streamlit as st

from db.access_values import Permission
from pages.ui import edit_time, panels, resources

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
if resources.may(Permission.ADJUDICATE) and not resources.single_reader_mode():
    pages.insert(3, st.Page("adjudicate.py", title="Adjudication"))
if resources.may(Permission.READ_CASES) and resources.reads_in_studies():
    pages.insert(3, st.Page("read_study.py", title="Study"))
if resources.may(Permission.PLAN_READING) and not resources.single_reader_mode():
    pages.append(st.Page("planning.py", title="Planning"))
if resources.may(Permission.PLAN_READING):
    pages.append(st.Page("studies.py", title="Studies"))
if resources.may(Permission.ADMINISTER) and not resources.single_reader_mode():
    pages.append(st.Page("accounts.py", title="Accounts"))
if resources.may(Permission.ADMINISTER):
    pages.append(st.Page("audit.py", title="Audit trail"))
page = st.navigation(pages, position="top")
st.html(_UI / "style.css")
panels.standing_notices()
edit_time.page_is(page.url_path)
page.run()
