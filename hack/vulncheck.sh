#!/bin/sh
# Asks Go's database of vulnerabilities whether the shipped binaries call anything that is known to be vulnerable. GOVULNDB
# names another database, such as a copy: file:///var/lib/vulndb. The status is 0 if nothing is known, 1 if something is, and
# 2 if that could not be found out, which is no good news.
#
#	vulncheck.sh GOVULNCHECK
set -u
cd "$(dirname "$0")/.."
found=3 # What govulncheck ends with if it found something; anything else but 0 is a failure of its own.

status=0
CGO_ENABLED=0 GOOS=linux "${1:?usage: vulncheck.sh GOVULNCHECK}" -db "${GOVULNDB:-https://vuln.go.dev}" ./cmd/... || status=$?
case $status in
0) echo "vulncheck: nothing is known that the shipped binaries call." ;;
"$found")
	echo "vulncheck: what is above is in the shipped binaries. Update the module or Go, as it says." >&2
	exit 1
	;;
*)
	echo "vulncheck: NOT CHECKED. govulncheck ended with status $status, and what is above says why; whether the shipped" >&2
	echo "binaries are vulnerable is not known. Without access to https://vuln.go.dev, set GOVULNDB to a copy of it." >&2
	exit 2
	;;
esac
