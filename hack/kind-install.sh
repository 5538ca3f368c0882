#!/bin/sh
# Installs the chart, with an image that was built from source, into a kind cluster. KIND_CLUSTER names it, by default
# "kind"; one of this name is created if there is none.
#
#	kind-install.sh IMAGE_ARCHIVE CHART [HELM_FLAGS...]
set -eu

archive=$1 chart=$2
shift 2
cluster=${KIND_CLUSTER:-kind}

command -v kind >/dev/null || {
	echo "kind-install: kind is not installed: see https://kind.sigs.k8s.io, or install the chart into a cluster that you have."
	exit 1
}
kind get clusters | grep -qx "$cluster" || kind create cluster --name "$cluster" --wait 2m
kind load image-archive "$archive" --name "$cluster"
"${HELM:-helm}" upgrade --install tokensteward "$chart" --kube-context "kind-$cluster" \
	--namespace tokensteward-system --create-namespace --set image.pullPolicy=Never --wait --timeout 5m "$@"
