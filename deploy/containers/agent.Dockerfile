# The agent alone: the base install of Nervure, no Ray, no Flower.
#   docker build -f deploy/containers/agent.Dockerfile -t nervure-agent .
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
    && /opt/nervure/bin/pip install --no-cache-dir -c constraints.txt .

FROM python:3.11-slim
COPY --from=build /opt/nervure /opt/nervure
RUN useradd --system --uid 10001 --home-dir /var/lib/nervure --create-home nervure
USER 10001
ENV PATH=/opt/nervure/bin:$PATH
VOLUME /var/lib/nervure
# Live capture needs CAP_NET_RAW; everything else runs without any capability.
ENTRYPOINT ["nervure", "agent", "run", "--data", "/var/lib/nervure"]
