"""A real nginx with TLS in front of a server, configured by the file that is shipped for it, deploy/nginx.conf."""

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.helpers.concurrency import wait_until

# What surrounds the shipped file: one process, which needs no account of its own, no daemon, and folders of the test.
_AROUND = """
daemon off; master_process off;
pid {folder}/nginx.pid; error_log {folder}/error.log;
events {{ }}
http {{
  access_log off;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
  include {folder}/second-read.conf;
}}
"""
_SHIPPED = Path(__file__).resolve().parents[2] / "deploy" / "nginx.conf"


@contextmanager
def running_nginx(folder: Path, behind: int, *, strips: bool) -> Iterator[str]:
    """Serve the server at a port under /second-read/ with TLS, and yield the address; `strips` removes the prefix."""
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("nginx is not installed: tests/run.sh installs it if it can")
    folder.mkdir()
    _make_certificate(folder)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = int(free.getsockname()[1])
    (folder / "nginx.conf").write_text(_AROUND.format(folder=folder))
    (folder / "second-read.conf").write_text(_shipped_for(folder, port, behind, strips=strips))
    with (folder / "output").open("wb") as output:
        process = subprocess.Popen(
            [program, "-p", str(folder), "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")],
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        wait_until(lambda: process.poll() is not None or _answers(port), seconds=30)
        assert process.poll() is None, (folder / "output").read_text()
        yield f"https://localhost:{port}/second-read"
    finally:
        process.terminate()
        process.wait(30)


def _shipped_for(folder: Path, port: int, behind: int, *, strips: bool) -> str:
    """Return the shipped file with the lines changed that it asks everybody to change, and other ports."""
    text = _SHIPPED.read_text(encoding="utf-8")
    for shipped, ours in (
        ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
        ("server_name reads.example;", "server_name localhost;"),
        ("/etc/ssl/certs/reads.example.pem", f"{folder}/certificate.pem"),
        ("/etc/ssl/private/reads.example.key", f"{folder}/key.pem"),
        ("proxy_pass http://127.0.0.1:8501/;", f"proxy_pass http://127.0.0.1:{behind}{'/' if strips else ''};"),
    ):
        assert text.count(shipped) == 1, shipped
        text = text.replace(shipped, ours)
    return text


def _make_certificate(folder: Path) -> None:
    made = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=localhost"]
    names = ["-addext", "subjectAltName=DNS:localhost"]
    files = ["-keyout", str(folder / "key.pem"), "-out", str(folder / "certificate.pem")]
    subprocess.run([*made, *names, *files], check=True, capture_output=True)


def _answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0
