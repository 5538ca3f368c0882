package v1alpha1

// Condition types. They mean what kstatus says they mean, so that `kubectl wait`, `helm --wait`, Flux and Argo CD
// understand every kind here without being taught.
const (
	// ConditionReady is always present. On a token, True says that the Secret holds the current, unexpired token;
	// on an issuer, that tokens can be asked of it.
	ConditionReady = "Ready"
	// ConditionReconciling is present, and True, only while the operator is on its way to Ready.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is present, and True, only while nothing will get better before a person acts.
	ConditionStalled = "Stalled"
	// ConditionRestarted is present on a token once workloads were to be restarted for a rotation: True says that all were.
	ConditionRestarted = "Restarted"
)

// Reasons of Restarted.
const (
	// ReasonRestarted: all workloads of spec.rolloutRestartTargets were restarted for the token in the Secret.
	ReasonRestarted = "Restarted"
	// ReasonTargetNotFound: one of them does not exist. It is not waited for.
	ReasonTargetNotFound = "TargetNotFound"
	// ReasonRestartRefused: the API server does not let the operator restart one of them. It is tried again.
	ReasonRestartRefused = "RestartRefused"
)

// Reasons of Ready=True.
const (
	// ReasonIssued: the Secret holds the current token.
	ReasonIssued = "Issued"
	// ReasonAvailable: the issuer can be asked for tokens.
	ReasonAvailable = "Available"
)

// Reasons of Ready=False that cure themselves: what they wait for is watched, so they come with Reconciling, or with
// nothing, and never with Stalled.
const (
	// ReasonProgressing: the token is being minted, or the operator is trying again after an error.
	ReasonProgressing = "Progressing"
	// ReasonIssuerNotFound: no issuer has the name in spec.issuerRef.
	ReasonIssuerNotFound = "IssuerNotFound"
	// ReasonIssuerNotReady: the issuer exists and is not Ready; its own conditions say why.
	ReasonIssuerNotReady = "IssuerNotReady"
	// ReasonUnknownAccount: the issuer has no account of the name in spec.account.
	ReasonUnknownAccount = "UnknownAccount"
	// ReasonNotGranted: no entry of the issuer's spec.grants allows this namespace this account or project.
	ReasonNotGranted = "NotGranted"
	// ReasonNamespaceTerminating: the namespace is being deleted; nothing is minted into it.
	ReasonNamespaceTerminating = "NamespaceTerminating"
	// ReasonTooManyPrevious: so many replaced tokens wait for their revocation that no other is minted.
	ReasonTooManyPrevious = "TooManyPrevious"
	// ReasonSuspended: spec.suspend is true, and the Secret does not hold a usable token.
	ReasonSuspended = "Suspended"
	// ReasonServiceUnavailable: the service does not answer, or answers with an error of its own. It is asked again by and by.
	ReasonServiceUnavailable = "ServiceUnavailable"
	// ReasonWaitingForTurn: the operator asks the service only so often, and others are before this resource.
	ReasonWaitingForTurn = "WaitingForTurn"
	// ReasonSettling: an attempt to mint had no answer; whether it made a token is known when it can't come in late any more.
	ReasonSettling = "Settling"
	// ReasonCredentialsMissing: the issuer's credentials Secret, or the key in it, does not exist.
	ReasonCredentialsMissing = "CredentialsMissing"
	// ReasonSecretNotFound: the Secret of spec.adopt, or the key in it, does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonInUse: the issuer is being deleted and kept until no token refers to it; or the token, which is its issuer's
	// credential, until no other does.
	ReasonInUse = "InUse"
)

// Reasons of Ready=False that need a person; they come with Stalled.
const (
	// ReasonAccountRequired: the issuer is built in, and spec.account is not set.
	ReasonAccountRequired = "AccountRequired"
	// ReasonInvalidSelector: a namespaceSelector in the issuer's spec.grants is not one that Kubernetes understands.
	ReasonInvalidSelector = "InvalidSelector"
	// ReasonSecretConflict: the Secret that spec.secret.name names belongs to somebody else, or is immutable.
	ReasonSecretConflict = "SecretConflict"
	// ReasonSecretRefused: a quota or an admission policy does not let the Secret be written. It is tried again every two
	// minutes, with a dry run first, so that no token is minted in vain.
	ReasonSecretRefused = "SecretRefused"
	// ReasonSecretManagedElsewhere: the Secret of spec.adopt is made by Helm, Flux, Argo CD, External Secrets or another
	// controller, which would put the old value back.
	ReasonSecretManagedElsewhere = "SecretManagedElsewhere"
	// ReasonAdoptionRefused: the token of spec.adopt can't be taken over: the service does not have it, somebody else does,
	// or nothing proves that it is the one in the Secret.
	ReasonAdoptionRefused = "AdoptionRefused"
	// ReasonInvalidTemplate: spec.secret.template can't be rendered, or gives something that no Secret can hold.
	ReasonInvalidTemplate = "InvalidTemplate"
	// ReasonRetainUnsupported: spec.deletionPolicy is Retain, which a built-in issuer can't do.
	ReasonRetainUnsupported = "RetainUnsupported"
	// ReasonAccountMismatch: spec.account is not the account of the issuer's credential.
	ReasonAccountMismatch = "AccountMismatch"
	// ReasonAccountChanged: the issuer's credential belongs to another account than the one that made the token.
	ReasonAccountChanged = "AccountChanged"
	// ReasonCredentialsRefused: the service does not accept the issuer's credential.
	ReasonCredentialsRefused = "CredentialsRefused"
	// ReasonIssuerNotServed: spec.issuerRef names a ClusterTokenIssuer, which the operator's --cluster-issuers=false excludes.
	ReasonIssuerNotServed = "IssuerNotServed"
	// ReasonHostNotAllowed: a TokenIssuer names a host that the operator's --allowed-hosts does not.
	ReasonHostNotAllowed = "HostNotAllowed"
	// ReasonInvalidCABundle: the issuer's caBundle holds no certificate that can be read.
	ReasonInvalidCABundle = "InvalidCABundle"
	// ReasonRoleMissing: the issuer's account does not administrate the repository.
	ReasonRoleMissing = "RoleMissing"
	// ReasonRepositoryNotFound: the service does not show the repository to the issuer's account.
	ReasonRepositoryNotFound = "RepositoryNotFound"
	// ReasonTokenLimitReached: the repository has as many tokens as the service allows, or the account so many that a new one
	// could not be told from them.
	ReasonTokenLimitReached = "TokenLimitReached"
	// ReasonUnsupported: the service is too old to have this kind of token.
	ReasonUnsupported = "Unsupported"
	// ReasonServiceRefused: the service refuses the request, and does not say why in a way that the operator understands.
	ReasonServiceRefused = "ServiceRefused"
	// ReasonAmbiguousToken: tokens came up while an attempt to mint had no answer, and one of them may be its own.
	ReasonAmbiguousToken = "AmbiguousToken"
	// ReasonRetainedListFull: so many tokens were left behind at the issuer's service that no more can be recorded.
	ReasonRetainedListFull = "RetainedListFull"
	// ReasonRevocationUnproven: the service says that a token is not there, and does not prove it.
	ReasonRevocationUnproven = "RevocationUnproven"
	// ReasonMintStorm: five tokens were minted within an hour, none of them because it was due. Something undoes what the
	// operator does; nothing more is minted before the spec changes or somebody asks for a rotation.
	ReasonMintStorm = "MintStorm"
	// ReasonRevisionsUsedUp: the status has the highest revision that there can be, which the operator never wrote.
	ReasonRevisionsUsedUp = "RevisionsUsedUp"
)
