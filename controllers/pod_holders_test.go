package controllers

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// changedBefore is the time that the tests ask about; who started earlier may have the old value.
var changedBefore = time.Date(2026, 9, 1, 12, 0, 30, 0, time.UTC)

func runningSince(shift time.Duration) corev1.ContainerState {
	return corev1.ContainerState{Running: &corev1.ContainerStateRunning{StartedAt: metav1.NewTime(changedBefore.Add(shift))}}
}

// consumer is a pod with one container that takes the Secret "token" into its environment. It is as old as its container,
// or older.
func consumer(phase corev1.PodPhase, states ...corev1.ContainerState) corev1.Pod {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "web", CreationTimestamp: metav1.NewTime(changedBefore.Add(-time.Hour))}}
	pod.Spec.Containers = []corev1.Container{{Name: "main", Env: envFrom("token")}}
	pod.Status.Phase = phase
	for _, state := range states {
		pod.Status.ContainerStatuses = append(pod.Status.ContainerStatuses, corev1.ContainerStatus{Name: "main", State: state})
	}
	return pod
}

func envFrom(secret string) []corev1.EnvVar {
	return []corev1.EnvVar{{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{SecretKeyRef: &corev1.SecretKeySelector{
		LocalObjectReference: corev1.LocalObjectReference{Name: secret}, Key: "token",
	}}}}
}

func secretVolume(secret string) corev1.Volume {
	return corev1.Volume{Name: "files", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{SecretName: secret}}}
}

func projectedVolume(secrets ...string) corev1.Volume {
	projected := &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ServiceAccountToken: &corev1.ServiceAccountTokenProjection{Path: "token"}}}}
	for _, name := range secrets {
		projected.Sources = append(projected.Sources, corev1.VolumeProjection{Secret: &corev1.SecretProjection{LocalObjectReference: corev1.LocalObjectReference{Name: name}}})
	}
	return corev1.Volume{Name: "files", VolumeSource: corev1.VolumeSource{Projected: projected}}
}

func checkHolds(t *testing.T, pod *corev1.Pod, want bool) {
	t.Helper()
	if got := slices.Equal(holders([]corev1.Pod{*pod}, "token", changedBefore), []string{pod.Name}); got != want {
		t.Errorf("it holds the old value: %t", got)
	}
}

func TestAContainerHoldsASecretThatItTakesOnceWhenItStarts(t *testing.T) {
	ref, optional := corev1.LocalObjectReference{Name: "token"}, true
	optionalEnv := envFrom("token")
	optionalEnv[0].ValueFrom.SecretKeyRef.Optional = &optional
	optionalVolume, optionalProjected := secretVolume("token"), projectedVolume("token")
	optionalVolume.Secret.Optional, optionalProjected.Projected.Sources[1].Secret.Optional = &optional, &optional
	subPath := []corev1.VolumeMount{{Name: "files", MountPath: "/etc/token", SubPath: "token"}}
	mount := func(m corev1.VolumeMount) corev1.Container {
		return corev1.Container{VolumeMounts: []corev1.VolumeMount{m}}
	}

	for name, test := range map[string]struct {
		container corev1.Container
		volumes   []corev1.Volume
		want      bool
	}{
		"a key in a variable":                   {corev1.Container{Env: envFrom("token")}, nil, true},
		"a key in a variable, if there is one":  {corev1.Container{Env: optionalEnv}, nil, true},
		"a key in the second variable":          {corev1.Container{Env: append([]corev1.EnvVar{{Name: "HOME", Value: "/"}}, envFrom("token")...)}, nil, true},
		"a key of another Secret in a variable": {corev1.Container{Env: envFrom("token-2")}, nil, false},
		"a key of a ConfigMap of that name": {corev1.Container{Env: []corev1.EnvVar{{Name: "TOKEN", ValueFrom: &corev1.EnvVarSource{
			ConfigMapKeyRef: &corev1.ConfigMapKeySelector{LocalObjectReference: ref, Key: "token"}}}}}, nil, false},
		"all keys as variables":                  {corev1.Container{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref}}}}, nil, true},
		"all keys as variables, if there is one": {corev1.Container{EnvFrom: []corev1.EnvFromSource{{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: ref, Optional: &optional}}}}, nil, true},
		"all keys of another Secret as variables": {corev1.Container{EnvFrom: []corev1.EnvFromSource{{
			SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: "token-2"}}}}}, nil, false},
		"all keys of a ConfigMap of that name": {corev1.Container{EnvFrom: []corev1.EnvFromSource{{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: ref}}}}, nil, false},

		"a part of the volume":                              {mount(subPath[0]), []corev1.Volume{secretVolume("token")}, true},
		"a part of the volume that a variable names":        {mount(corev1.VolumeMount{Name: "files", SubPathExpr: "$(KEY)"}), []corev1.Volume{secretVolume("token")}, true},
		"a part of the volume, if there is one":             {mount(subPath[0]), []corev1.Volume{optionalVolume}, true},
		"a part of the volume of another Secret":            {mount(subPath[0]), []corev1.Volume{secretVolume("token-2")}, false},
		"a part of the volume next to it":                   {mount(corev1.VolumeMount{Name: "cache", SubPath: "token"}), []corev1.Volume{secretVolume("token"), {Name: "cache"}}, false},
		"a part and the whole of the volume":                {corev1.Container{VolumeMounts: append([]corev1.VolumeMount{{Name: "files"}}, subPath...)}, []corev1.Volume{secretVolume("token")}, true},
		"the whole volume, which follows by itself":         {mount(corev1.VolumeMount{Name: "files"}), []corev1.Volume{secretVolume("token")}, false},
		"a part of a projection":                            {mount(subPath[0]), []corev1.Volume{projectedVolume("other", "token")}, true},
		"a part of a projection that a variable names":      {mount(corev1.VolumeMount{Name: "files", SubPathExpr: "$(KEY)"}), []corev1.Volume{projectedVolume("token")}, true},
		"a part of a projection, if there is one":           {mount(subPath[0]), []corev1.Volume{optionalProjected}, true},
		"a part of a projection of other Secrets":           {mount(subPath[0]), []corev1.Volume{projectedVolume("other", "token-2")}, false},
		"a whole projection, which follows by itself":       {mount(corev1.VolumeMount{Name: "files"}), []corev1.Volume{projectedVolume("token")}, false},
		"a volume that this container does not mount":       {corev1.Container{}, []corev1.Volume{secretVolume("token")}, false},
		"a block device of that name":                       {corev1.Container{VolumeDevices: []corev1.VolumeDevice{{Name: "files", DevicePath: "/dev/token"}}}, []corev1.Volume{secretVolume("token")}, false},
		"a part of a ConfigMap of that name":                {mount(subPath[0]), []corev1.Volume{{Name: "files", VolumeSource: corev1.VolumeSource{ConfigMap: &corev1.ConfigMapVolumeSource{LocalObjectReference: ref}}}}, false},
		"a part of a volume whose driver takes the Secret":  {mount(subPath[0]), []corev1.Volume{{Name: "files", VolumeSource: corev1.VolumeSource{CSI: &corev1.CSIVolumeSource{NodePublishSecretRef: &ref}}}}, false},
		"a part of a projection of a ConfigMap of the name": {mount(subPath[0]), []corev1.Volume{{Name: "files", VolumeSource: corev1.VolumeSource{Projected: &corev1.ProjectedVolumeSource{Sources: []corev1.VolumeProjection{{ConfigMap: &corev1.ConfigMapProjection{LocalObjectReference: ref}}}}}}}, false},
	} {
		test.container.Name = "main"
		pod := consumer(corev1.PodRunning, runningSince(-time.Second))
		pod.Spec.Volumes = test.volumes
		for kind, become := range containerKinds {
			t.Run(name+", "+kind, func(t *testing.T) {
				pod := *pod.DeepCopy()
				pod.Spec.Containers[0] = test.container
				become(&pod)
				checkHolds(t, &pod, test.want)
			})
		}
	}

	t.Run("to pull an image", func(t *testing.T) {
		pod := consumer(corev1.PodRunning, runningSince(-time.Second))
		pod.Spec.Containers[0].Env, pod.Spec.ImagePullSecrets = nil, []corev1.LocalObjectReference{ref}
		checkHolds(t, &pod, false)
	})
}

// containerKinds make the only container of a pod one of another kind, with its status, next to one that takes nothing.
var containerKinds = map[string]func(*corev1.Pod){
	"container": func(*corev1.Pod) {},
	"init container": func(pod *corev1.Pod) {
		pod.Spec.InitContainers, pod.Status.InitContainerStatuses = pod.Spec.Containers, pod.Status.ContainerStatuses
		onlyBystander(pod)
	},
	"sidecar": func(pod *corev1.Pod) {
		pod.Spec.InitContainers, pod.Status.InitContainerStatuses = pod.Spec.Containers, pod.Status.ContainerStatuses
		always := corev1.ContainerRestartPolicyAlways
		pod.Spec.InitContainers[0].RestartPolicy = &always
		onlyBystander(pod)
	},
	"ephemeral container": func(pod *corev1.Pod) {
		pod.Spec.EphemeralContainers = []corev1.EphemeralContainer{{EphemeralContainerCommon: corev1.EphemeralContainerCommon(pod.Spec.Containers[0])}}
		pod.Status.EphemeralContainerStatuses = pod.Status.ContainerStatuses
		onlyBystander(pod)
	},
}

func onlyBystander(pod *corev1.Pod) {
	pod.Spec.Containers = []corev1.Container{{Name: "bystander"}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "bystander", State: runningSince(-time.Minute)}}
}

func TestAContainerHoldsTheOldValueForAsLongAsItRuns(t *testing.T) {
	exited := corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{StartedAt: metav1.NewTime(changedBefore.Add(-time.Minute))}}
	waiting := func(reason string) corev1.ContainerState {
		return corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason}}
	}
	after := func(state, last corev1.ContainerState) corev1.Pod {
		pod := consumer(corev1.PodRunning, state)
		pod.Status.ContainerStatuses[0].LastTerminationState, pod.Status.ContainerStatuses[0].RestartCount = last, 1
		return pod
	}
	created := func(shift time.Duration, pod corev1.Pod) corev1.Pod {
		pod.CreationTimestamp = metav1.NewTime(changedBefore.Add(shift))
		return pod
	}
	deleted := func(pod corev1.Pod) corev1.Pod {
		now := metav1.NewTime(changedBefore.Add(time.Minute))
		pod.DeletionTimestamp = &now
		return pod
	}
	mirror := func(pod corev1.Pod) corev1.Pod {
		pod.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"}
		return pod
	}
	for name, test := range map[string]struct {
		pod  corev1.Pod
		want bool
	}{
		"it started before the time":                           {consumer(corev1.PodRunning, runningSince(-time.Nanosecond)), true},
		"it started at the time":                               {consumer(corev1.PodRunning, runningSince(0)), false},
		"it started later":                                     {consumer(corev1.PodRunning, runningSince(time.Second)), false},
		"it was started again before the time":                 {after(runningSince(-time.Second), exited), true},
		"it was started again since":                           {after(runningSince(time.Second), exited), false},
		"it waits for its next start":                          {after(waiting("CrashLoopBackOff"), exited), false},
		"it is not started yet in a pod that runs":             {consumer(corev1.PodRunning, waiting("ImagePullBackOff")), false},
		"it has no state, which is to wait":                    {consumer(corev1.PodRunning, corev1.ContainerState{}), false},
		"it has ended":                                         {consumer(corev1.PodRunning, exited), false},
		"it runs, and nobody says since when":                  {consumer(corev1.PodRunning, corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}), true},
		"the pod succeeded, whatever it says of the container": {consumer(corev1.PodSucceeded, runningSince(-time.Second)), false},
		"the pod failed, whatever it says of the container":    {consumer(corev1.PodFailed, runningSince(-time.Second)), false},
		"the pod succeeded without a word of the container":    {consumer(corev1.PodSucceeded), false},
		"the pod is deleted, and the container still runs":     {deleted(consumer(corev1.PodRunning, runningSince(-time.Second))), true},
		"the pod is deleted, and the container has ended":      {deleted(consumer(corev1.PodRunning, exited)), false},
		"the pod is pending, and the container waits":          {consumer(corev1.PodPending, waiting("ContainerCreating")), false},
		"the pod is pending without a word of the container":   {consumer(corev1.PodPending), false},
		"the pod is pending, and the container runs":           {consumer(corev1.PodPending, runningSince(-time.Second)), true},
		"an old pod runs without a word of the container":      {created(-time.Second, consumer(corev1.PodRunning)), true},
		"a new pod runs without a word of the container":       {created(0, consumer(corev1.PodRunning)), false},
		"the node is lost, and the container ran":              {consumer(corev1.PodUnknown, runningSince(-time.Second)), true},
		"the node is lost, and the container ran, but not yet": {consumer(corev1.PodUnknown, runningSince(time.Second)), false},
		"the node is lost, and the container had ended":        {consumer(corev1.PodUnknown, exited), false},
		"the node is lost without a word of the container":     {consumer(corev1.PodUnknown), true},
		"the pod is a static one's mirror":                     {mirror(consumer(corev1.PodRunning, runningSince(-time.Second))), true},
		"the pod is a static one's mirror, started again":      {mirror(consumer(corev1.PodRunning, runningSince(time.Second))), false},
	} {
		for kind, become := range containerKinds {
			t.Run(name+", "+kind, func(t *testing.T) {
				pod := *test.pod.DeepCopy()
				become(&pod)
				checkHolds(t, &pod, test.want)
			})
		}
	}
}

func TestAContainerIsJudgedByItsOwnStatus(t *testing.T) {
	pod := consumer(corev1.PodRunning, runningSince(time.Second))
	onlyNeighbour := pod.DeepCopy()
	onlyNeighbour.Spec.Containers = append(onlyNeighbour.Spec.Containers, corev1.Container{Name: "neighbour"})
	onlyNeighbour.Status.ContainerStatuses = append([]corev1.ContainerStatus{{Name: "neighbour", State: runningSince(-time.Minute)}}, onlyNeighbour.Status.ContainerStatuses...)
	checkHolds(t, onlyNeighbour, false)

	second := onlyNeighbour.DeepCopy()
	second.Spec.Containers[1].Env = envFrom("token")
	checkHolds(t, second, true)
}

func TestAPartOfAVolumeMayBeOldForLongerThanAVariable(t *testing.T) {
	for name, test := range map[string]struct {
		created, started time.Duration
		want             bool
	}{
		"started before the volume followed":              {-time.Hour, subPathLag - time.Nanosecond, true},
		"started when the volume had followed":            {-time.Hour, subPathLag, false},
		"started before the time in a pod just before it": {-time.Second, -time.Nanosecond, true},
		"started in a pod just before the time":           {-time.Second, time.Second, true},
		"started in a new pod, whose volume is new":       {0, time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			pod := consumer(corev1.PodRunning, runningSince(test.started))
			pod.CreationTimestamp = metav1.NewTime(changedBefore.Add(test.created))
			pod.Spec.Volumes = []corev1.Volume{secretVolume("token")}
			pod.Spec.Containers[0].VolumeMounts = []corev1.VolumeMount{{Name: "files", SubPath: "token"}}
			pod.Spec.Containers[0].Env = nil
			checkHolds(t, &pod, test.want)
		})
	}
}

func TestHoldersAreSortedAndNamedOnce(t *testing.T) {
	var pods []corev1.Pod
	for _, name := range []string{"web-2", "api-0", "web-10"} {
		pod := consumer(corev1.PodRunning, runningSince(-time.Second))
		pod.Name = name
		second := pod.Spec.Containers[0]
		second.Name = "second"
		pod.Spec.Containers = append(pod.Spec.Containers, second)
		pod.Spec.InitContainers = []corev1.Container{{Name: "init", Env: envFrom("token")}}
		pods = append(pods, pod)
	}
	restarted := consumer(corev1.PodRunning, runningSince(time.Second))
	restarted.Name = "batch"
	pods = append(pods, restarted)
	if got := holders(pods, "token", changedBefore); !slices.Equal(got, []string{"api-0", "web-10", "web-2"}) {
		t.Errorf("the holders are %q", got)
	}
	if got := holders(nil, "token", changedBefore); len(got) != 0 {
		t.Errorf("without pods, the holders are %q", got)
	}
}

func TestAStatusNamesTheFirstFiveHolders(t *testing.T) {
	var names []string
	for i := range 7 {
		if got, want := shownHolders(names), names[:min(i, 5)]; !slices.Equal(got, want) {
			t.Errorf("of %d: %q", i, got)
		}
		names = append(names, fmt.Sprint("web-", i))
	}
}
