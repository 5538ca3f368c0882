#!/bin/sh
# Builds the kubectl plugin for each platform into dist/, as krew takes it, and writes dist/steward.yaml, its manifest for krew's
# index. PLATFORMS names some of them: PLATFORMS=linux/amd64 hack/krew.sh
set -eu
cd "$(dirname "$0")/.."
version=$(sed -n 's/^appVersion: *//p' charts/tokensteward/Chart.yaml)
home=$(sed -n 's/^home: *//p' charts/tokensteward/Chart.yaml)
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
mkdir -p dist
manifest=dist/steward.yaml

cat >"$scratch/steward.yaml" <<END
apiVersion: krew.googlecontainertools.github.com/v1alpha2
kind: Plugin
metadata:
  name: steward
spec:
  version: $version
  homepage: $home
  shortDescription: See and drive the API tokens of Tokensteward
  description: |
    Lists the API tokens that Tokensteward manages, rotates and revokes them, asks whether they are accepted, has workloads take
    them, and finds tokens at Codacy that no resource has. It acts with your own permissions, and prints no value of a token.
  platforms:
END
for platform in ${PLATFORMS:-linux/amd64 linux/arm64 darwin/amd64 darwin/arm64 windows/amd64}; do
	os=${platform%/*} arch=${platform#*/}
	binary=kubectl-steward
	[ "$os" = windows ] && binary=kubectl-steward.exe
	archive=kubectl-steward_${version}_${os}_$arch.tar.gz
	echo "krew: compiling for $platform; the first time takes minutes ..."
	CGO_ENABLED=0 GOOS=$os GOARCH=$arch go build -trimpath \
		-ldflags="-s -w -X github.com/tokensteward/tokensteward/internal/version.Version=$version" -o "$scratch/$binary" ./cmd/kubectl-steward
	cp LICENSE "$scratch/LICENSE"
	tar -C "$scratch" -czf "dist/$archive" "$binary" LICENSE
	rm "$scratch/$binary"
	if command -v sha256sum >/dev/null; then sum=$(sha256sum "dist/$archive"); else sum=$(shasum -a 256 "dist/$archive"); fi
	sha256=${sum%% *}
	cat >>"$scratch/steward.yaml" <<END
    - selector:
        matchLabels: {os: $os, arch: $arch}
      uri: $home/releases/download/$version/$archive
      sha256: $sha256
      bin: $binary
END
done
mv "$scratch/steward.yaml" "$manifest"
echo "krew: the manifest is $manifest; the archives beside it belong to the release $version."
