# syntax=docker/dockerfile:1

# Amends with everything in it: engine, built-in participants, operator commands.
#
# Three stages build it, so that dependencies are compiled anew only when they change; the fourth is what runs.

FROM rust:1.95-slim-bookworm AS tools
# For librdkafka, which is compiled from the source that comes with its crate.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ gcc make pkg-config zlib1g-dev \
    && rm -rf /var/lib/apt/lists/*
RUN cargo install cargo-chef --version 0.1.78 --locked
WORKDIR /src

FROM tools AS plan
COPY . .
RUN cargo chef prepare --recipe-path recipe.json

FROM tools AS build
COPY --from=plan /src/recipe.json recipe.json
RUN cargo chef cook --release --locked --package amends --recipe-path recipe.json
COPY . .
RUN cargo build --release --locked --package amends

FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates zlib1g \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --system --uid 10001 --user-group --home-dir /nonexistent --shell /usr/sbin/nologin amends

# For health checks: `ready PORT` succeeds when /readyz says so there. There is no curl here, and no need for one.
COPY --chmod=755 <<'EOF' /usr/local/bin/ready
#!/bin/bash
exec 3<>"/dev/tcp/127.0.0.1/$1" || exit 1
printf 'GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n' >&3
read -r _ status _ <&3
[ "$status" = 200 ]
EOF

COPY --from=build /src/target/release/amends /usr/local/bin/amends

USER amends
# The engine's port, and those of the participants' own HTTP.
EXPOSE 7400 8001 8002 8003 8004
ENTRYPOINT ["amends"]
CMD ["serve"]
