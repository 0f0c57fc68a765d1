# docker build -t ringhold .  &&  docker run -p 7480:7480 -v ringhold:/data ringhold

FROM debian:trixie-slim AS build
WORKDIR /src
COPY tools/install-packages tools/backports-source tools/
COPY tools/packages tools/packages
RUN tools/install-packages build && rm -rf /var/lib/apt/lists/*
COPY Makefile openapi.yaml ./
COPY db db
COPY handlers handlers
COPY service service
RUN make build && strip build/ringhold

FROM debian:trixie-slim
RUN apt-get update -qq \
 && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
        libcurl3t64-gnutls libgnutls30t64 libnettle8t64 libsqlite3-0 libuv1t64 libxxhash0 \
        libzstd1 \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 7480 --user-group --no-create-home --shell /usr/sbin/nologin ringhold \
 && install -d -o ringhold -g ringhold -m 0700 /data
COPY --from=build /src/build/ringhold /usr/local/bin/ringhold
COPY tools/ready /usr/local/bin/ringhold-ready
USER ringhold
ENV RINGHOLD_LISTEN=0.0.0.0:7480 RINGHOLD_DATA=/data
VOLUME /data
EXPOSE 7480
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=4s --start-period=30s --retries=3 CMD ["ringhold-ready"]
ENTRYPOINT ["ringhold"]
