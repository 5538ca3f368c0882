package controllers

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/tokensteward/tokensteward/api/v1alpha1"
	"github.com/tokensteward/tokensteward/internal/lifecycle"
)

const (
	// restartManager owns the annotations of a restart, and nothing else, so that who applies the workload from Git does not
	// see a change of its own fields.
	restartManager = "tokensteward-restart"
	// restartedAtAnnotation is what `kubectl rollout restart` sets, too.
	restartedAtAnnotation = "kubectl.kubernetes.io/restartedAt"
	// restartRetry is how long to wait after a restart was refused.
	restartRetry = 10 * time.Minute
)

// restart restarts the workloads that spec names, each once for a revision. A workload that does not exist has nobody to be
// restarted; it is named in the condition and not waited for. docs/rotation.md, Restarting workloads.
func (r *TokenReconciler) restart(ctx context.Context, s *state) error {
	status := s.token.SharedStatus()
	var missing, refused []string
	for _, target := range s.token.SharedSpec().RolloutRestartTargets {
		name := target.Kind + "/" + target.Name
		restarted, err := r.restartTarget(ctx, s, target, status.Token.Revision)
		switch {
		case apierrors.IsNotFound(err):
			missing = append(missing, name)
		case apierrors.IsForbidden(err):
			refused = append(refused, name)
		case err != nil: // A restart that fails must not keep a token from being renewed.
			refused = append(refused, fmt.Sprintf("%s (%s)", name, err))
		case restarted:
			ctrl.LoggerFrom(ctx).Info("Restarted a workload for the new token", "workload", name, "revision", status.Token.Revision)
			r.Recorder.Eventf(s.token, nil, corev1.EventTypeNormal, eventRestarted, "Restart", "Restarted %s for revision %d", name, status.Token.Revision)
		}
	}
	r.setRestarted(s, missing, refused)
	if len(refused) > 0 {
		// If the resource changed meanwhile the condition is lost, so it is not put off before it is told.
		if err := r.patchStatus(ctx, s); err != nil {
			return fmt.Errorf("recording that workloads were not restarted: %w", err)
		}
		r.failures.postpone(s, lifecycle.Restart, restartRetry)
	} else {
		r.failures.succeeded(s, lifecycle.Restart)
		status.RestartTime = nil
	}
	s.failures = r.failures.of(s)
	return nil
}

// restartTarget restarts a workload, unless it was for this revision already.
func (r *TokenReconciler) restartTarget(ctx context.Context, s *state, target v1alpha1.RolloutRestartTarget, revision int64) (restarted bool, err error) {
	key := v1alpha1.RestartAnnotationPrefix + string(s.token.GetUID())
	err = retry.RetryOnConflict(retry.DefaultRetry, func() error {
		workload := &unstructured.Unstructured{}
		workload.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind(target.Kind))
		if err := r.Live.Get(ctx, types.NamespacedName{Namespace: s.token.GetNamespace(), Name: target.Name}, workload); err != nil {
			return err
		}
		annotations, _, err := unstructured.NestedStringMap(workload.Object, "spec", "template", "metadata", "annotations")
		if err != nil {
			return err
		}
		if last, err := strconv.ParseInt(annotations[key], 10, 64); err == nil && last >= revision {
			return nil
		}
		patch, err := restartPatch(workload.GetResourceVersion(), map[string]string{
			restartedAtAnnotation: r.Clock.Now().UTC().Format(time.RFC3339), key: strconv.FormatInt(revision, 10),
		})
		if err != nil {
			return err
		}
		restarted = true
		return r.Live.Patch(ctx, workload, client.RawPatch(types.MergePatchType, patch), client.FieldOwner(restartManager))
	})
	return restarted && err == nil, err
}

// restartPatch sets annotations of the pod template, if the workload is still what was read.
func restartPatch(resourceVersion string, annotations map[string]string) ([]byte, error) {
	return json.Marshal(map[string]any{
		"metadata": map[string]any{"resourceVersion": resourceVersion},
		"spec":     map[string]any{"template": map[string]any{"metadata": map[string]any{"annotations": annotations}}},
	})
}

// setRestarted tells what came of the restarts, and with an Event if that is something to look after.
func (r *TokenReconciler) setRestarted(s *state, missing, refused []string) {
	conditions := &s.token.SharedStatus().Conditions
	told := metav1.Condition{
		Type: v1alpha1.ConditionRestarted, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonRestarted,
		Message:            fmt.Sprintf("The workloads of spec.rolloutRestartTargets were restarted for revision %d.", s.token.SharedStatus().Token.Revision),
		ObservedGeneration: s.token.GetGeneration(), LastTransitionTime: metav1.NewTime(r.Clock.Now()),
	}
	switch {
	case len(refused) > 0:
		told.Status, told.Reason = metav1.ConditionFalse, v1alpha1.ReasonRestartRefused
		told.Message = truncate(fmt.Sprintf("The API server does not let these be restarted: %s. Give the operator the permission "+
			"(the chart's value permissions.restartWorkloads), or restart them; it is tried again every %s.", strings.Join(refused, ", "), restartRetry))
	case len(missing) > 0:
		told.Status, told.Reason = metav1.ConditionFalse, v1alpha1.ReasonTargetNotFound
		told.Message = truncate(fmt.Sprintf("These do not exist in the namespace, so they were not restarted: %s. Create them, or take them out of "+
			"spec.rolloutRestartTargets.", strings.Join(missing, ", ")))
	}
	before := meta.FindStatusCondition(*conditions, v1alpha1.ConditionRestarted)
	if told.Status == metav1.ConditionFalse && (before == nil || before.Reason != told.Reason) {
		r.Recorder.Eventf(s.token, nil, corev1.EventTypeWarning, told.Reason, "Restart", "%s", told.Message)
	}
	meta.SetStatusCondition(conditions, told)
}
