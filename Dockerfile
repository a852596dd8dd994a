# syntax=docker/dockerfile:1
# One image for scheduler, executor and every other command: `docker run polybolos scheduler ...`. Needs BuildKit (`RUN --mount`).

# The version is that of rust-toolchain.toml; a test compares them.
ARG RUST_VERSION=1.95.0

FROM rust:${RUST_VERSION}-slim-trixie AS build
ENV CARGO_INCREMENTAL=0 \
    CARGO_PROFILE_RELEASE_STRIP=symbols \
    CARGO_TERM_COLOR=never
WORKDIR /src
COPY . .
# Crates and compiled dependencies stay in caches of the builder, so a change of ours compiles ours. The caches are no part of a layer, hence the copy.
RUN --mount=type=cache,target=/usr/local/cargo/registry,sharing=locked \
    --mount=type=cache,target=/src/target,sharing=locked \
    cargo build --release --locked --package polybolos-cli --bin polybolos \
    && install -D target/release/polybolos /out/polybolos

FROM debian:trixie-slim
LABEL org.opencontainers.image.title="polybolos" \
      org.opencontainers.image.description="Backtests and parameter sweeps: scheduler, executor and tools" \
      org.opencontainers.image.licenses="Apache-2.0"
# Authorities for https: `data fetch`, and `--cluster https://...`.
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --chmod=755 deploy/docker/healthcheck /usr/local/bin/polybolos-healthcheck
# A volume that is mounted empty takes over the owner of the folder it covers.
RUN groupadd --gid 10001 polybolos \
    && useradd --uid 10001 --gid 10001 --no-create-home --home-dir / --shell /usr/sbin/nologin polybolos \
    && install --directory --owner=polybolos --group=polybolos /data /results /state /work
COPY --from=build /out/polybolos /usr/local/bin/polybolos
# A container listens on all its addresses, which takes a token or --insecure; which of its ports others reach is decided outside.
ENV POLYBOLOS_DATA=/data \
    POLYBOLOS_RESULTS=/results \
    POLYBOLOS_STATE=/state \
    POLYBOLOS_WORK_DIR=/work \
    POLYBOLOS_BIND=0.0.0.0 \
    POLYBOLOS_HTTP_PORT=8080
USER 10001:10001
WORKDIR /
EXPOSE 8080 50050 50051 50052
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s --retries=3 CMD ["polybolos-healthcheck"]
ENTRYPOINT ["polybolos"]
CMD ["--help"]
