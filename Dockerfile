# Cross-compiled on the builder's own architecture; the result holds one static binary, which brings the CA certificates.
# make image-tar builds the same image without Docker: hack/tools/image must say of it what is said here.
FROM --platform=$BUILDPLATFORM golang:1.26 AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY api/ api/
COPY cmd/ cmd/
COPY controllers/ controllers/
COPY internal/ internal/
COPY hack/build.sh hack/
ARG TARGETOS TARGETARCH VERSION=dev
RUN GOOS=$TARGETOS GOARCH=$TARGETARCH VERSION=$VERSION hack/build.sh /manager
# BuildKit dates the image by this; the file in it is dated here. After the build, which it need not repeat.
ARG SOURCE_DATE_EPOCH=0
RUN touch --date="@$SOURCE_DATE_EPOCH" /manager

FROM scratch
ARG VERSION=dev
LABEL org.opencontainers.image.title="tokensteward" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.source="https://github.com/tokensteward/tokensteward"
COPY --from=build /manager /manager
USER 65532:65532
ENTRYPOINT ["/manager"]
