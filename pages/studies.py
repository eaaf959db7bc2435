"""Reader studies, for those who plan them: create a study, follow its progress, close it."""

from db import store
from pages.ui import components, downloads, resources, studies

by = resources.account().id
with resources.sessions().read() as session:
    rows = store.studies.studies(session, by)
    readers = store.studies.study_readers(session, by)
components.show_announcement()
studies.draw_studies(rows)
studies.draw_form(readers)
downloads.draw_reads_export()
