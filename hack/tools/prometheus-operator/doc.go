// Package prometheusoperator pins the Prometheus operator whose CRDs the chart is tested with.
package prometheusoperator

import _ "github.com/prometheus-operator/prometheus-operator/pkg/versionutil" // The module comes with the CRDs, in example.
