#!/bin/sh
# Builds the operator for release, for the platform in GOOS and GOARCH, as the version in VERSION: hack/build.sh OUTPUT
# The Dockerfile and make image-tar both call it, so that one version is the same binary, byte for byte, in either image.
set -eu
output=${1:?usage: VERSION=v1.2.3 hack/build.sh OUTPUT, in the root of the repository}
# Neither the directory, nor the state of the repository, nor what the builder usually sets gets into the binary.
export CGO_ENABLED=0 GOFLAGS="" GOAMD64=v1 GOARM64=v8.0 GOEXPERIMENT="" GOFIPS140=off
go build -trimpath -buildvcs=false \
	-ldflags="-s -w -X github.com/tokensteward/tokensteward/internal/version.Version=${VERSION:-dev}" \
	-o "$output" ./cmd/manager
