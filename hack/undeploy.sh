#!/bin/sh
# Removes what the chart or config/default installed into the cluster of the current kubeconfig, once no token is left
# that only the operator can revoke. TOKENS says what is to become of tokens that exist:
#
#	TOKENS=revoke   have them revoked first: their resources and Secrets are deleted
#	TOKENS=keep     remove the operator alone; resources, Secrets and tokens stay, and so do CRDs and namespace
#
# HELM and KUBECTL are the programs, RELEASE and NAMESPACE where it was installed.
set -eu

helm=${HELM:-helm}
kubectl=${KUBECTL:-kubectl}
release=${RELEASE:-tokensteward}
namespace=${NAMESPACE:-tokensteward-system}
group=tokensteward.io
config=$(cd "$(dirname "$0")/.." && pwd)/config

say() { echo "undeploy: $*"; }

all=$("$kubectl" get crd -o name) # By itself: a pipe would hide that it failed.
crds=$(echo "$all" | sed -n "s,^customresourcedefinition.apiextensions.k8s.io/\(.*\.$group\)$,\1,p")
installed=$("$helm" list --namespace "$namespace" --filter "^$release\$" --short)

# Lists resources of the kinds that are installed, as kind/name and namespace. An error is no "none".
list() {
	for kind in "$@"; do
		case " $(echo $crds) " in
		*" $kind.$group "*)
			"$kubectl" get "$kind.$group" --all-namespaces --no-headers --ignore-not-found \
				-o custom-columns=KIND:.kind,NAMESPACE:.metadata.namespace,NAME:.metadata.name || return 1
			;;
		esac
	done
}

delete_all() {
	for kind in "$@"; do
		case " $(echo $crds) " in
		*" $kind.$group "*) "$kubectl" delete "$kind.$group" --all --all-namespaces --timeout=10m || return 1 ;;
		esac
	done
}

remove_operator() {
	if [ -n "$installed" ]; then
		"$helm" uninstall "$release" --namespace "$namespace" --wait
	else
		# Of what kustomize applied, the CRDs and the namespace are left for the steps after this one.
		"$kubectl" delete --ignore-not-found -f "$config/default/manifests.yaml"
	fi
}

tokens=$(list accounttokens projecttokens)
count=$(printf '%s' "$tokens" | grep -c . || true)
if [ "$count" -gt 0 ]; then
	case ${TOKENS:-} in
	keep)
		manifest=
		[ -z "$installed" ] || manifest=$("$helm" get manifest "$release" --namespace "$namespace")
		case $manifest in
		*"kind: CustomResourceDefinition"*)
			case $manifest in
			*"helm.sh/resource-policy: keep"*) ;;
			*)
				say "the release was installed with crds.keep=false: its end would be that of all resources, with nobody to revoke their tokens."
				say "upgrade it with crds.keep=true, and say this again. Nothing was removed."
				exit 1
				;;
			esac
			;;
		esac
		remove_operator
		say "the operator is gone; token resources ($count), their Secrets and tokens are as they were. Install it again to go on."
		exit 0
		;;
	revoke)
		say "deleting token resources ($count); the operator revokes their tokens ..."
		delete_all accounttokens projecttokens || {
			say "not all could be revoked: \`kubectl describe\` says why for each that is left. Nothing else was removed."
			exit 1
		}
		;;
	*)
		say "there are token resources ($count), and without the operator nobody would revoke their tokens:"
		echo "$tokens"
		say "say what is to become of them: TOKENS=revoke or TOKENS=keep. Nothing was removed."
		exit 1
		;;
	esac
fi
delete_all tokenissuers clustertokenissuers
remove_operator
for crd in $crds; do
	"$kubectl" delete --ignore-not-found crd "$crd"
done
"$kubectl" delete --ignore-not-found namespace "$namespace"
say "all is removed."
