# The gateway in a container: see docs/deploy/container.md.
FROM python:3.11-slim AS build
ARG EXTRAS=static,postgres,s3,otel,analytics
WORKDIR /src
COPY pyproject.toml README.md LICENSE ./
COPY sartor ./sartor
RUN python -m venv /opt/sartor && /opt/sartor/bin/pip install --no-cache-dir ".[${EXTRAS}]"

FROM python:3.11-slim
RUN useradd --system --uid 10001 --home-dir /data --shell /usr/sbin/nologin sartor \
    && install -d -o sartor -g sartor -m 0700 /data
COPY --from=build /opt/sartor /opt/sartor
ENV PATH=/opt/sartor/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    SARTOR_HOME=/data/store \
    SARTOR_KEY=/data/signing.key \
    SARTOR_CACHE=/data/cache
USER sartor
VOLUME /data
EXPOSE 8800
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=60s \
    CMD ["python", "-c", "import urllib.request as u; u.urlopen('http://127.0.0.1:8800/health', timeout=2)"]
ENTRYPOINT ["sartor"]
CMD ["serve", "--host", "0.0.0.0"]
