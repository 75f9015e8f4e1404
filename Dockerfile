# To pin it by digest: --build-arg PYTHON_IMAGE=python:3.13-slim-bookworm@sha256:... (README, "In production").
ARG PYTHON_IMAGE=python:3.13-slim-bookworm

FROM ${PYTHON_IMAGE} AS build
WORKDIR /build
# requirements-otel.txt for an image that can send traces.
ARG REQUIREMENTS=requirements.txt
COPY ${REQUIREMENTS} .
# The lock is complete: pip resolves nothing, so a later release of any package changes nothing.
RUN python3 -m venv /opt/jay && /opt/jay/bin/pip install --no-cache-dir --no-deps --require-hashes -r ${REQUIREMENTS}
COPY pyproject.toml README.md ./
COPY service service
RUN /opt/jay/bin/pip install --no-cache-dir --no-deps --no-build-isolation . && /opt/jay/bin/pip check

FROM ${PYTHON_IMAGE}
RUN useradd --system --uid 10001 --no-create-home jay && mkdir /app /data && chown jay /data
COPY --from=build /opt/jay /opt/jay
COPY config.yaml /app/config.yaml
WORKDIR /app
USER jay
# PYTHONSAFEPATH: modules are never taken from the working directory, which is a mounted folder in docker-compose.yml.
ENV PATH=/opt/jay/bin:$PATH PYTHONDONTWRITEBYTECODE=1 PYTHONSAFEPATH=1 JAY_SERVER__HOST=0.0.0.0 JAY_REDIS__DATA_DIR=/data
EXPOSE 8080
VOLUME /data
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=5s --start-period=15s --retries=3 CMD ["jay-tracking", "healthcheck"]
# As PID 1 Python would lose a SIGTERM of its first 0.05 s. Blocked, it stays pending until the program takes it.
ENTRYPOINT ["env", "--block-signal=TERM,INT", "jay-tracking"]
CMD ["serve"]
