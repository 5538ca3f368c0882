package controllers

import (
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// maxHolders is how many holders a status names: some to begin with, and no list that grows with a deployment.
const maxHolders = 5

// subPathLag is how much longer than other containers one that mounts a part of a volume may be given the old value. What
// it is given is what the volume holds when the container starts. The kubelet (1.37: makeMounts, doBindSubPath) follows the
// volume's symbolic links anew at each start, and mounts again what has been replaced. But it does not renew the volume
// first: WaitForAttachAndMount only asks for that, and is content with a volume that is mounted (GetMountedVolumeForPod).
// So a restarted container is given what an earlier sync of the pod left behind. They are syncFrequency apart, a minute
// unless configured, and up to half as much again (workerResyncIntervalJitterFactor). The time that a sync itself takes,
// as with an image that is pulled for long, comes on top, and can't be seen from here.
const subPathLag = 90 * time.Second

// holders are the names of the pods that hold a Secret as it was before a time, sorted. The pods are those of its
// namespace.
func holders(pods []corev1.Pod, secretName string, before time.Time) []string {
	var names []string
	for i := range pods {
		if holds(&pods[i], secretName, before) {
			names = append(names, pods[i].Name)
		}
	}
	slices.Sort(names)
	return names
}

// shownHolders are the first five of them, for the status.
func shownHolders(names []string) []string {
	return names[:min(len(names), maxHolders)]
}

func holds(pod *corev1.Pod, secretName string, before time.Time) bool {
	if pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed {
		return false
	}
	// The volumes of a new pod are new.
	beforeWithVolume := before
	if pod.CreationTimestamp.Time.Before(before) {
		beforeWithVolume = before.Add(subPathLag)
	}
	volumes := volumesWith(pod, secretName)
	holds := func(c *corev1.Container, statuses []corev1.ContainerStatus) bool {
		return inEnvironment(c, secretName) && runsSinceBefore(pod, c.Name, statuses, before) ||
			mountsPartOf(c, volumes) && runsSinceBefore(pod, c.Name, statuses, beforeWithVolume)
	}
	for i := range pod.Spec.InitContainers {
		if holds(&pod.Spec.InitContainers[i], pod.Status.InitContainerStatuses) {
			return true
		}
	}
	for i := range pod.Spec.Containers {
		if holds(&pod.Spec.Containers[i], pod.Status.ContainerStatuses) {
			return true
		}
	}
	for i := range pod.Spec.EphemeralContainers {
		if holds((*corev1.Container)(&pod.Spec.EphemeralContainers[i].EphemeralContainerCommon), pod.Status.EphemeralContainerStatuses) {
			return true
		}
	}
	return false
}

// volumesWith are the names of the volumes that the kubelet fills from the Secret. A driver that takes a Secret, of CSI or
// an older kind, uses it for itself: what it does when the Secret changes is its own affair.
func volumesWith(pod *corev1.Pod, secretName string) []string {
	var names []string
	for _, v := range pod.Spec.Volumes {
		whole := v.Secret != nil && v.Secret.SecretName == secretName
		projected := v.Projected != nil && slices.ContainsFunc(v.Projected.Sources, func(s corev1.VolumeProjection) bool {
			return s.Secret != nil && s.Secret.Name == secretName
		})
		if whole || projected {
			names = append(names, v.Name)
		}
	}
	return names
}

// inEnvironment says whether the Secret is in a container's environment, which stays as it was when the container started.
func inEnvironment(c *corev1.Container, secretName string) bool {
	return slices.ContainsFunc(c.Env, func(e corev1.EnvVar) bool {
		return e.ValueFrom != nil && e.ValueFrom.SecretKeyRef != nil && e.ValueFrom.SecretKeyRef.Name == secretName
	}) || slices.ContainsFunc(c.EnvFrom, func(e corev1.EnvFromSource) bool {
		return e.SecretRef != nil && e.SecretRef.Name == secretName
	})
}

// mountsPartOf says whether a container mounts a part of one of the volumes. A mount of the whole follows the Secret.
func mountsPartOf(c *corev1.Container, volumes []string) bool {
	return slices.ContainsFunc(c.VolumeMounts, func(m corev1.VolumeMount) bool {
		return (m.SubPath != "" || m.SubPathExpr != "") && slices.Contains(volumes, m.Name)
	})
}

// runsSinceBefore says whether a container runs, and started before a time. One that does not run reads anew when it
// starts.
func runsSinceBefore(pod *corev1.Pod, container string, statuses []corev1.ContainerStatus, before time.Time) bool {
	at := slices.IndexFunc(statuses, func(s corev1.ContainerStatus) bool { return s.Name == container })
	if at < 0 { // Nobody told. In a pod that does not run yet, no container does.
		return pod.Status.Phase != corev1.PodPending && pod.CreationTimestamp.Time.Before(before)
	}
	running := statuses[at].State.Running
	return running != nil && running.StartedAt.Time.Before(before)
}
