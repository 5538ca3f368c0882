#!/bin/sh
# Runs each fuzzer for FUZZTIME, by default 30s, one after the other, and ends with the first finding. FUZZ names some of
# them: FUZZ=Authority hack/fuzz.sh
set -eu
cd "$(dirname "$0")/.."
time=${FUZZTIME:-30s}

began=$(date +%s) count=0
echo "fuzz: compiling, with what tells a fuzzer where it has been; the first time takes minutes ..."
for file in $(grep -rl --include='*_test.go' '^func Fuzz' api cmd controllers internal | sort); do
	package=./$(dirname "$file")
	for fuzzer in $(sed -n 's/^func \(Fuzz[A-Za-z0-9_]*\)(.*/\1/p' "$file" | grep -- "${FUZZ:-.}" || true); do
		echo
		echo "fuzz: $fuzzer in $package, for $time ($(date -u +%H:%M:%S))"
		# An input is made smaller for a few seconds, and not for a minute, which is longer than all the rest. Some packages run
		# more tests at once than there are processors.
		if ! go test -run '^$' -fuzz "^$fuzzer\$" -fuzztime "$time" -fuzzminimizetime 5s -parallel "$(getconf _NPROCESSORS_ONLN)" "$package"; then
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
