#!/bin/sh
# Runs each fuzzer for FUZZTIME, by default 30s, one after the other, and ends with the first finding. FUZZ names some of
# them: FUZZ=Authority hack/fuzz.sh
#
# A fuzzer is guided by what its inputs reach, for which all packages are compiled once more, and that takes many minutes.
# GUIDED=no leaves that out: inputs are then made at random from the seeds.
set -eu
cd "$(dirname "$0")/.."
time=${FUZZTIME:-30s}

began=$(date +%s) count=0
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
echo "fuzz: compiling; the first time takes minutes ..."

# fuzz PACKAGE FUZZER
fuzz() {
	# An input is made smaller for a few seconds, and not for a minute, which is longer than all the rest. Some packages run
	# more tests at once than there are processors.
	workers=$(getconf _NPROCESSORS_ONLN)
	if [ "${GUIDED:-yes}" = no ]; then
		go test -c -o "$scratch/fuzz.test" "$1" && (cd "$1" && "$scratch/fuzz.test" -test.run '^$' -test.fuzz "^$2\$" \
			-test.fuzztime "$time" -test.fuzzminimizetime 5s -test.parallel "$workers" -test.fuzzcachedir "$scratch/$2")
	else
		go test -run '^$' -fuzz "^$2\$" -fuzztime "$time" -fuzzminimizetime 5s -parallel "$workers" "$1"
	fi
}
for file in $(grep -rl --include='*_test.go' '^func Fuzz' api cmd controllers internal | sort); do
	package=./$(dirname "$file")
	for fuzzer in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | grep -- "${FUZZ:-.}" || true); do
		echo
		echo "fuzz: $fuzzer in $package, for $time ($(date -u +%H:%M:%S))"
		if ! fuzz "$package" "$fuzzer"; then
			echo "fuzz: $fuzzer has failed. If it names a failing input, that has been written to $package/testdata/fuzz/$fuzzer:"
			echo "fuzz: run it again with: go test -run '^$fuzzer\$' $package"
			echo "fuzz: commit it with the fix; from then on it is run by every go test."
			exit 1
		fi
		count=$((count + 1))
	done
done
[ "$count" -gt 0 ] || { echo "fuzz: there is no fuzzer with ${FUZZ:-that} in its name."; exit 1; }
echo
echo "fuzz: $count fuzzers have found nothing, in $(($(date +%s) - began)) s with compiling."
