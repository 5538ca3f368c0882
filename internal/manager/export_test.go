package manager

// For the tests on a real API server, which can't be in this package: what starts one imports it.
var (
	ApplyDefaultIssuer    = applyDefaultIssuer
	DefaultIssuerPatience = defaultIssuerPatience
)
