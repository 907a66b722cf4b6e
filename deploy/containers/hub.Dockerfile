# A regional hub with federated rounds: gateways, directory, lake and controllers as Ray actors.
#   docker build -f deploy/containers/hub.Dockerfile -t nervure-hub .
FROM python:3.11-slim AS build
WORKDIR /src
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY protos/generated protos/generated
COPY core core
COPY edge edge
COPY hub hub
COPY federation federation
COPY simulations simulations
RUN python -m venv /opt/nervure \
    && /opt/nervure/bin/pip install --no-cache-dir -c constraints.txt '.[federation]'

FROM python:3.11-slim
COPY --from=build /opt/nervure /opt/nervure
RUN useradd --system --uid 10001 --home-dir /var/lib/nervure --create-home nervure
USER 10001
ENV PATH=/opt/nervure/bin:$PATH \
    RAY_USAGE_STATS_ENABLED=0
VOLUME /var/lib/nervure
EXPOSE 7443 7444
ENTRYPOINT ["nervure", "hub", "up", "--data", "/var/lib/nervure"]
