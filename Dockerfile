# relance and the libraries it loads, and nothing else: no shell, no package manager.
#
#   docker build -t relance .
#   docker run -p 127.0.0.1:5000:5000 -e ALLOW_ANONYMOUS=true relance
#
# Build arguments: RELEASE names the release in the image; OPENVINO=true adds the library for
# PROVIDER=openvino. For arm64: docker build --platform linux/arm64, on such a machine or emulated.

FROM rust:1.95-bookworm AS program
RUN apt-get update \
    && apt-get install -y --no-install-recommends cmake nasm \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /build
# Built once and run for long: it may take a third longer to build to be smaller and a little faster.
ENV CARGO_PROFILE_RELEASE_STRIP=symbols \
    CARGO_PROFILE_RELEASE_LTO=thin \
    CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
# The dependencies are a layer of their own, built with empty sources: it is kept until Cargo.toml or
# Cargo.lock changes.
COPY Cargo.toml Cargo.lock ./
RUN for source in $(sed -n 's/^path = "\(.*\.rs\)"$/\1/p' Cargo.toml); do \
        mkdir -p "$(dirname "$source")" && echo 'fn main() {}' >"$source" || exit 1; \
    done \
    && if grep -q '^\[build-dependencies\]' Cargo.toml; then echo 'fn main() {}' >build.rs; fi \
    && cargo build --release --locked --bin relance
COPY Cargo.toml build.r[s] ./
COPY src src
# The page shows some of them.
COPY models/samples models/samples
# Cargo compares times, and a checkout may be older than the empty sources.
RUN find . -maxdepth 2 -name '*.rs' -exec touch {} + && cargo build --release --locked --bin relance

FROM debian:bookworm-slim AS root
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates libstdc++6 python3-pip \
    && rm -rf /var/lib/apt/lists/*
# The C and C++ libraries, with their licences, and with their versions where scanners look for them.
RUN mkdir -p /root-folder/var/lib/dpkg/status.d /root-folder/etc/ssl/certs \
    && cd /root-folder \
    && for package in libc6 libgcc-s1 libstdc++6; do \
        dpkg-query --listfiles "$package" | grep -E '\.so(\.[0-9]+)*$|/copyright$' | grep -v /gconv/ \
        | while read -r file; do if [ -e "$file" ]; then cp -a --parents "$file" .; fi; done \
        && dpkg-query --status "$package" >"var/lib/dpkg/status.d/$package" || exit 1; \
    done \
    && cp -L /etc/ssl/certs/ca-certificates.crt etc/ssl/certs/ \
    && echo 'hosts: files dns' >etc/nsswitch.conf \
    && echo 'relance:x:65532:65532::/data:/sbin/nologin' >etc/passwd \
    && echo 'relance:x:65532:' >etc/group \
    && mkdir app /empty && find . -type d -exec chmod 755 {} + && install -d -m 1777 tmp
WORKDIR /fetch
COPY scripts/fetch-onnxruntime scripts/fetch-openvino scripts/
COPY scripts/lib scripts/lib
RUN scripts/fetch-onnxruntime /root-folder/app/lib
ARG OPENVINO=false
RUN if [ "$OPENVINO" = true ]; then scripts/fetch-openvino /root-folder/app/lib/openvino; fi

FROM scratch
COPY --from=root /root-folder/ /
COPY --from=root --chown=65532:65532 /empty /data
COPY LICENSE-APACHE LICENSE-MIT /app/
COPY models/bottle.onnx models/bottle.baseline.json /app/models/
COPY --from=program /build/target/release/relance /app/relance

USER 65532:65532
# With the last one glibc gives back what has been freed; once it has seen a model's buffer it would keep 20 MB.
ENV HOST=0.0.0.0 DATA_DIR=/data MALLOC_TRIM_THRESHOLD_=262144
VOLUME /data
EXPOSE 5000
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=5s --start-period=30s --retries=3 CMD ["/app/relance", "healthcheck"]
ENTRYPOINT ["/app/relance"]

ARG RELEASE=dev
ENV RELEASE=$RELEASE
LABEL org.opencontainers.image.title="relance" \
    org.opencontainers.image.description="Serves YOLO image classifiers" \
    org.opencontainers.image.licenses="MIT OR Apache-2.0" \
    org.opencontainers.image.version=$RELEASE
