// Package certmanager pins the cert-manager whose CRDs the chart is tested with.
package certmanager

import _ "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1" // The module comes with the CRDs, in deploy/crds.
