// Package version says which release a binary is.
package version

// Version is the release that this binary was built as; hack/build.sh and the Makefile set it.
var Version = "dev"
