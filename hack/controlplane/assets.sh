#!/bin/sh
# Prints the directory that holds etcd, kube-apiserver and kubectl (what envtest calls KUBEBUILDER_ASSETS).
# In this order: $KUBEBUILDER_ASSETS if it is set; what an earlier run left in bin/; the download of setup-envtest,
# tried for ASSETS_DOWNLOAD_SECONDS (default 20); a build from the Go modules pinned beside this script.
# Progress goes to standard error, the directory alone to standard output.
#
#	assets.sh [BINARY...]                       also builds the named ones, for example kube-controller-manager
#	CONTROLPLANE=oldest assets.sh [BINARY...]    those of an older Kubernetes, pinned in the module of that folder
set -eu

here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
module=$here${CONTROLPLANE:+/$CONTROLPLANE}
version=$(sed -n 's,^[[:space:]]*k8s.io/kubernetes v\([0-9.]*\).*,\1,p' "$module/go.mod")
dir=$root/bin/controlplane/$version-$(go env GOOS)-$(go env GOARCH)

say() { echo "$*" >&2; }

complete() {
	for binary in etcd kube-apiserver kubectl; do
		[ -x "$1/$binary" ] || return 1
	done
}

# Runs a command, and ends it after $1 seconds (timeout(1) is not everywhere).
limited() {
	seconds=$1
	shift
	"$@" &
	command_pid=$!
	(sleep "$seconds" && kill "$command_pid") 2>/dev/null &
	watchdog_pid=$!
	status=0
	wait "$command_pid" || status=$?
	kill "$watchdog_pid" 2>/dev/null || true
	wait "$watchdog_pid" 2>/dev/null || true
	return "$status"
}

download() {
	say "control plane: trying setup-envtest's download of Kubernetes ${version%.*} for up to ${ASSETS_DOWNLOAD_SECONDS:-20} s ..."
	(cd "$root/hack/tools/setup-envtest" && go build -o "$root/bin/setup-envtest" \
		sigs.k8s.io/controller-runtime/tools/setup-envtest) || return 1
	limited "${ASSETS_DOWNLOAD_SECONDS:-20}" "$root/bin/setup-envtest" use "${version%.*}.x" \
		--bin-dir "$root/bin/setup-envtest-store" -p path >"$dir.found" 2>"$dir.log" || return 1
	found=$(cat "$dir.found")
	complete "$found" || return 1
	for binary in etcd kube-apiserver kubectl; do
		ln -sf "$found/$binary" "$dir/$binary"
	done
}

package_of() {
	case $1 in
	etcd) echo go.etcd.io/etcd/server/v3 ;;
	*) echo "k8s.io/kubernetes/cmd/$1" ;;
	esac
}

# go build says nothing until it is done, which for kube-apiserver can be minutes: count the packages instead.
build() {
	binary=$1
	package=$(package_of "$binary")
	minor=${version#1.}
	flags="-s -w -X k8s.io/component-base/version.gitVersion=v$version"
	flags="$flags -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=${minor%%.*}"
	cd "$module"
	say "control plane: building $binary (from Go modules; the first time takes minutes) ..."
	total=$(go list -deps "$package" | wc -l | tr -d ' ')
	rm -f "$dir/$binary.tmp"
	CGO_ENABLED=0 go build -v -trimpath -ldflags "$flags" -o "$dir/$binary.tmp" "$package" 2>&1 |
		awk -v name="$binary" -v total="$total" '
			/^[^ ]+$/ { if (++n % 100 == 0) printf "  %s: %d of at most %d packages compiled\n", name, n, total; next }
			{ print }' >&2
	[ -x "$dir/$binary.tmp" ] || { say "control plane: building $binary failed; the lines above say why"; exit 1; }
	mv "$dir/$binary.tmp" "$dir/$binary"
	cd "$root"
}

if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
	complete "$KUBEBUILDER_ASSETS" || {
		say "KUBEBUILDER_ASSETS is $KUBEBUILDER_ASSETS, but etcd, kube-apiserver and kubectl are not all there."
		say "Unset it to have them downloaded or built."
		exit 1
	}
	dir=$KUBEBUILDER_ASSETS
else
	mkdir -p "$dir"
	if ! complete "$dir"; then
		if download; then
			say "control plane: downloaded."
		else
			say "control plane: no download to be had; building from source instead."
			for binary in etcd kubectl kube-apiserver; do
				[ -x "$dir/$binary" ] || build "$binary"
			done
		fi
	fi
fi
for binary in "$@"; do
	[ -x "$dir/$binary" ] || build "$binary"
done
echo "$dir"
