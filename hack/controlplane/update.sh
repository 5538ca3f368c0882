#!/bin/sh
# Moves this module, or the one in a folder of it, to another Kubernetes release: ./update.sh 1.37.2; ./update.sh 1.35.4 oldest
# k8s.io/kubernetes can be required only together with a replace for each of its staging modules.
set -eu
cd "$(dirname "$0")"
version=${1:?usage: update.sh KUBERNETES_VERSION [FOLDER], for example 1.37.2}
cd "${2:-.}"
go mod edit -require="k8s.io/kubernetes@v$version"
gomod=$(go mod download -json "k8s.io/kubernetes@v$version" | sed -n 's/.*"GoMod": "\(.*\)".*/\1/p')
sed -n '/^replace (/,/^)/p' "$gomod" | awk '/=> \.\/staging/ {print $1}' | while read -r staging; do
	go mod edit -replace="$staging=$staging@v0.${version#1.}"
done
go mod tidy
