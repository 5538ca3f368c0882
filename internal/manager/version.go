package manager

// Version is the release that this binary was built as; hack/build.sh sets it.
var Version = "dev"
