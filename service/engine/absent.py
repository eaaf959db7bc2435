"""The engine of a server that has none: every request is refused with the reason."""

from service.engine.requests import Analyser, AnalysisAnswer, AnalysisRequest, EngineUnavailableError


class _NoEngine:
    """Refuses every request."""

    async def analyse(self, request: AnalysisRequest) -> AnalysisAnswer:
        """Refuse one image.

        Raises:
            EngineUnavailableError: Always.
        """
        raise EngineUnavailableError(f"no worker of this server analyses the {len(request.data)} bytes of an image")


NO_ENGINE: Analyser = _NoEngine()
