# Sluice in one image: pinned jars and hash-checked wheels, resolved while it is built and never when it starts.
ARG PYTHON_IMAGE=docker.io/library/python:3.11-slim-bookworm
ARG MAVEN_IMAGE=docker.io/library/maven:3.9-eclipse-temurin-17

FROM ${MAVEN_IMAGE} AS jars
WORKDIR /build
COPY deploy/jars/pom.xml ./
COPY deploy/jars/s3 s3
RUN mvn --batch-mode --no-transfer-progress --file pom.xml \
        dependency:copy-dependencies -DoutputDirectory=/jars/service -DincludeScope=runtime \
    && mvn --batch-mode --no-transfer-progress --file s3/pom.xml \
        package dependency:copy-dependencies -DoutputDirectory=/jars/s3 -DincludeScope=runtime

# Everything that the lock file names, in a virtual environment that moves into the last stage as one layer.
FROM ${PYTHON_IMAGE} AS dependencies
WORKDIR /build
COPY requirements.lock ./
RUN pip wheel --no-cache-dir --require-hashes --wheel-dir /wheels --requirement requirements.lock
RUN python -m venv /opt/sluice \
    && /opt/sluice/bin/pip install --no-cache-dir --no-index --no-deps --no-compile /wheels/*.whl

FROM ${PYTHON_IMAGE} AS application
WORKDIR /build
COPY pyproject.toml README.md ./
COPY checkpoints checkpoints
COPY deploy deploy
COPY schemas schemas
COPY sinks sinks
COPY streams streams
RUN pip wheel --no-cache-dir --no-deps --wheel-dir /wheels .

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
LABEL org.opencontainers.image.title="sluice" \
      org.opencontainers.image.description="Kafka and Debezium into a bronze / silver / gold lakehouse on Delta Lake" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}"

# Spark asks for the vector module by name, and its gateway exits in a Java without it.
# bash and ps are what Spark's start scripts need; tini reaps the workers of a driver that is process 1.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends openjdk-17-jre-headless procps tini \
    && rm -rf /var/lib/apt/lists/* \
    && java --list-modules | grep --quiet '^jdk.incubator.vector@' \
    && groupadd --gid 10001 sluice \
    && useradd --uid 10001 --gid sluice --home-dir /var/lib/sluice --no-create-home --no-log-init sluice \
    && install --directory --owner=sluice --group=sluice /var/lib/sluice /var/lib/sluice/lake

COPY --from=jars /jars /opt/sluice-jars
COPY --from=dependencies /opt/sluice /opt/sluice
RUN --mount=type=bind,from=application,source=/wheels,target=/wheels \
    /opt/sluice/bin/pip install --no-cache-dir --no-index --no-deps /wheels/*.whl

# What Spark loads at each start, as one file that the JVM maps.
RUN cd /tmp && /opt/sluice/bin/python -m streams.class_archive /opt/sluice-jars/service

ENV PATH=/opt/sluice/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    SLUICE_JARS_DIR=/opt/sluice-jars/service \
    SLUICE_S3_JARS_DIR=/opt/sluice-jars/s3 \
    SLUICE_LAKE=/var/lib/sluice/lake \
    SLUICE_LOG_FORMAT=json \
    SLUICE_METRICS_HOST=0.0.0.0 \
    SLUICE_METRICS_PORT=9464

USER 10001:10001
WORKDIR /var/lib/sluice
VOLUME /var/lib/sluice/lake
EXPOSE 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=15s --timeout=5s --start-period=120s --retries=4 \
    CMD ["python", "-c", "import os, urllib.request as r; r.urlopen(f'http://127.0.0.1:{os.environ[\"SLUICE_METRICS_PORT\"]}/livez', timeout=4)"]
ENTRYPOINT ["tini", "--", "sluice"]
CMD ["run"]
