"""Records for the gate to which browser tab Streamlit gave each picture and each download."""

from streamlit.runtime import Runtime
from streamlit.runtime.media_file_manager import MediaFileManager
from streamlit.runtime.scriptrunner import get_script_run_ctx

from service.access.media_owners import MediaOwners


def record_media_owners(runtime: Runtime, owners: MediaOwners) -> None:
    """Let a runtime that has not started yet record whom it gives each file."""
    # Streamlit has no setting for its manager of files.
    runtime._media_file_mgr = _OwnedFiles(runtime.media_file_mgr, owners)


class _OwnedFiles(MediaFileManager):
    """Streamlit's manager of files, which also records the browser tab that each file was given to."""

    def __init__(self, before: MediaFileManager, owners: MediaOwners) -> None:
        super().__init__(before._storage)
        self._owners = owners

    def add(
        self,
        path_or_data: bytes | str,
        mimetype: str,
        coordinates: str,
        file_name: str | None = None,
        is_for_static_download: bool = False,
    ) -> str:
        """Add a file for the page that is running, and return its address."""
        address = super().add(path_or_data, mimetype, coordinates, file_name, is_for_static_download)
        context = get_script_run_ctx()
        if context is not None:
            self._owners.gave(address, context.session_id)
        return address

    def execute_deferred(self, file_id: str) -> str:
        """Make the file of a download for the page that drew it, and return its address."""
        # The file is made after a click, outside the run of the page.
        drawn = self._deferred_callables.get(file_id)
        address = super().execute_deferred(file_id)
        if drawn is not None:
            self._owners.gave(address, drawn["session_id"])
        return address
