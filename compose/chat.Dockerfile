# The chat, as an image; its context is the root of the repository.
#
# Not run yet: it was written on a machine without Docker.
#
#     docker build --file compose/chat.Dockerfile --tag scaleout-chat .

FROM rust:1.95-bookworm AS build
WORKDIR /scaleout
COPY . .
# The caches outlive the build; what is run does not lie in them.
RUN --mount=type=cache,target=/usr/local/cargo/registry \
    --mount=type=cache,target=/scaleout/target \
    cargo build --locked --release --package scaleout-examples --example chat \
    && cp target/release/examples/chat /usr/local/bin/chat

# What it is linked with is in every Debian; certificates are for stores by TLS.
FROM debian:bookworm-slim
RUN apt-get update \
    && apt-get install --yes --no-install-recommends ca-certificates \
    && rm -rf /var/lib/apt/lists/*
COPY --from=build /usr/local/bin/chat /usr/local/bin/chat
USER nobody
EXPOSE 8080
# All interfaces of the container; docker stops it by SIGTERM, which it understands.
ENTRYPOINT ["chat", "--node", "0.0.0.0:8080"]
