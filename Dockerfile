# Second Read in a container; docs/deployment.md says how to run it.
#   docker build --target cpu --tag second-read:cpu .
#   docker build --target cuda --tag second-read:cuda .
# Nothing in it is made at the start: it runs with a read-only root, a volume at /data and a tmpfs at /tmp.

FROM debian:bookworm-slim AS base
# Debian's stable release gets security fixes only, and removes the versions that they replace.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3 \
    && rm -rf /var/lib/apt/lists/*

FROM base AS installer
# The environment has no pip of its own: nothing is installed into it later.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends python3-venv \
    && rm -rf /var/lib/apt/lists/* \
    && python3 -m venv /opt/pip \
    && python3 -m venv --without-pip /opt/second-read/.venv
# The address of another package index can be given with --build-arg.
ARG PIP_INDEX_URL
ENV PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

FROM installer AS packages-cpu
COPY deploy/locks/cpu.txt /tmp/lock.txt
RUN /opt/pip/bin/pip --python /opt/second-read/.venv/bin/python install \
    --require-hashes --no-deps --only-binary :all: --requirement /tmp/lock.txt

FROM base AS program
# .dockerignore lists what this copies.
COPY . /opt/second-read
RUN chmod -R u=rwX,go=rX /opt/second-read && python3 -m compileall -q /opt/second-read

FROM base AS runtime
# For Chinese, Japanese and Korean names in reports, which no font in the Python packages can print.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends fonts-noto-cjk \
    && rm -rf /var/lib/apt/lists/*
RUN useradd --uid 10001 --home-dir /tmp --no-create-home --shell /usr/sbin/nologin second-read \
    && install --directory --owner second-read --group second-read --mode 700 /data
WORKDIR /opt/second-read
ENV PATH=/opt/second-read/.venv/bin:$PATH \
    HOME=/tmp \
    MPLCONFIGDIR=/tmp/matplotlib \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONUNBUFFERED=1 \
    SECOND_READ_DATA=/data \
    STREAMLIT_SERVER_ADDRESS=0.0.0.0
VOLUME /data
EXPOSE 8501
USER 10001:10001
HEALTHCHECK --interval=30s --timeout=10s --start-period=60s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8501/health', timeout=8)"]
CMD ["streamlit", "run", "streamlit_app.py"]

FROM runtime AS cpu
COPY --from=packages-cpu /opt/second-read/.venv /opt/second-read/.venv
COPY --from=program /opt/second-read /opt/second-read

FROM installer AS packages-cuda
COPY deploy/locks/cuda.txt /tmp/lock.txt
RUN /opt/pip/bin/pip --python /opt/second-read/.venv/bin/python install \
    --require-hashes --no-deps --only-binary :all: --requirement /tmp/lock.txt

# torch brings CUDA; of the computer it needs the driver and NVIDIA's container toolkit.
FROM runtime AS cuda
ENV SECOND_READ_DEVICE=cuda \
    NVIDIA_VISIBLE_DEVICES=all \
    NVIDIA_DRIVER_CAPABILITIES=compute,utility
COPY --from=packages-cuda /opt/second-read/.venv /opt/second-read/.venv
COPY --from=program /opt/second-read /opt/second-read
