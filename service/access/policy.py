"""The content security policy of all answers: a browser fetches nothing for our pages from another host."""

from starlette.datastructures import MutableHeaders
from starlette.types import Message, Send

_HEADER = "content-security-policy"

# The one script in Streamlit's page, of the version in requirements.txt; without it, no script in a page runs. Styles
# stand in the page, and pictures, fonts and components are made from data and blobs.
_SCRIPT = "'sha256-THxz9J9+wf7rhwR2YkXJoSZ13UCmYyC+3lNDv2+8ugA='"


def policy_with(script: str) -> str:
    """Return the policy of an answer in which the inline script with this hash may run."""
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src 'self' blob: {script}",
            "style-src 'self' 'unsafe-inline'",
            "img-src 'self' data: blob:",
            "font-src 'self' data:",
            "connect-src 'self' data: blob:",
            "worker-src 'self' blob:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
            "frame-ancestors 'self'",
        )
    )


_POLICY = policy_with(_SCRIPT)


def with_content_policy(send: Send) -> Send:
    """Return a `send` that adds the policy to every answer that has none of its own."""

    async def send_with_policy(message: Message) -> None:
        if message["type"] == "http.response.start":
            message.setdefault("headers", [])
            MutableHeaders(scope=message).setdefault(_HEADER, _POLICY)
        await send(message)

    return send_with_policy
