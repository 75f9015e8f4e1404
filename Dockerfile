# By digest: --build-arg PYTHON_IMAGE=python:3.13-slim-bookworm@sha256:...
# docs/operations.md says how to find it ("Docker Compose").
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
# With requirements/otel.txt the image can send traces.
ARG REQUIREMENTS=requirements/runtime.txt
COPY ${REQUIREMENTS} lock.txt
# The lock is complete. pip resolves nothing, so later releases change nothing.
RUN python3 -m venv /opt/jay && /opt/jay/bin/pip install --no-cache-dir --no-deps --require-hashes -r lock.txt
COPY pyproject.toml README.md ./
COPY jay_tracking jay_tracking
COPY service service
RUN /opt/jay/bin/pip install --no-cache-dir --no-deps --no-build-isolation . && \
    /opt/jay/bin/pip uninstall --yes poetry-core && /opt/jay/bin/pip check

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --no-create-home jay && mkdir /app /data && chown jay /data
COPY --from=build /opt/jay /opt/jay
COPY config.yaml /app/config.yaml
WORKDIR /app
USER jay
# PYTHONSAFEPATH: Python imports no module from the working directory, which is a mounted
# folder in docker-compose.yml.
ENV PATH=/opt/jay/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 JAY_SERVER__HOST=0.0.0.0 JAY_REDIS__DATA_DIR=/data
EXPOSE 8080
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["jay-tracking", "healthcheck"]
# As PID 1, Python loses a SIGTERM that arrives in its first 0.05 s. A blocked signal stays
# pending until the program handles it.
ENTRYPOINT ["env", "--block-signal=TERM,INT", "jay-tracking"]
CMD ["serve"]
