package wait

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// Problem is something that keeps an object from becoming ready.
type Problem struct {
	Object  string // for example "pod istio-system/istiod-7d9"
	Reason  string // one of the reasons of the table below
	Message string
	// Where the last words of a crashed container are found.
	pod       *corev1.Pod
	container string
}

// key tells problems apart over time; the message may change while the problem stays.
func (p Problem) key() string { return p.Object + "|" + p.Reason }

func (p Problem) String() string {
	return fmt.Sprintf("%s: %s: %s", p.Object, p.Reason, oneLine(p.Message))
}

// never is the patience for problems that often resolve themselves while a mesh comes up. They are
// reported at once, and end the wait only with its budget.
const never = time.Duration(1<<63 - 1)

// patience is how long a problem may last before the wait gives up. Every problem is reported at
// once, whatever its patience. Reasons that cannot resolve themselves have none; reasons that may,
// such as scheduling or an outage of a registry, have some.
var patience = map[string]time.Duration{
	"ErrImageNeverPull":          0, // the image is not on the node and may not be pulled
	"InvalidImageName":           0,
	"ImagePull":                  20 * time.Second, // ErrImagePull and ImagePullBackOff, which alternate
	"Unschedulable":              15 * time.Second,
	"CrashLoop":                  45 * time.Second, // about three restarts: a proxy may crash once while its control plane starts
	"CreateContainerConfigError": 20 * time.Second, // a secret or config map that is still to come
	"CreateContainerError":       15 * time.Second,
	"RunContainerError":          15 * time.Second,
	"FailedCreate":               15 * time.Second, // the pod itself is refused: quota, admission, service account
	"Evicted":                    0,
	"FailedMount":                never,
	"FailedCreatePodSandBox":     never,
	"Unhealthy":                  never,
	"NotReady":                   never,
}

// problemsOf reads why pods are not ready from their status and from the warning events about them
// or their owner. Of several events about a pod the newest counts.
func problemsOf(pods []*corev1.Pod, events []*corev1.Event, owner string) []Problem {
	var out []Problem
	for _, p := range pods {
		if podReady(p) || p.DeletionTimestamp != nil {
			continue
		}
		out = append(out, problemOf(p, events))
	}
	for _, e := range events {
		about := e.InvolvedObject.Kind + "/" + e.InvolvedObject.Name
		if e.Reason == "FailedCreate" && len(pods) == 0 && owner != "" &&
			(about == owner || strings.HasPrefix(about, strings.Replace(owner, "Deployment/", "ReplicaSet/", 1)+"-")) {
			out = append(out, Problem{Object: strings.ToLower(e.InvolvedObject.Kind) + " " + e.InvolvedObject.Namespace + "/" +
				e.InvolvedObject.Name, Reason: e.Reason, Message: e.Message})
		}
	}
	return out
}

// problemOf is the one problem of a pod that explains best why it is not ready.
func problemOf(p *corev1.Pod, events []*corev1.Event) Problem {
	at := Problem{Object: "pod " + p.Namespace + "/" + p.Name, pod: p}
	as := func(reason, message string) Problem { at.Reason, at.Message = reason, message; return at }
	if p.Status.Phase == corev1.PodFailed {
		return as("Evicted", firstOf(p.Status.Message, p.Status.Reason, "the pod failed"))
	}
	for _, c := range p.Status.Conditions {
		if c.Type == corev1.PodScheduled && c.Status == corev1.ConditionFalse {
			return as("Unschedulable", c.Message)
		}
	}
	for _, cs := range append(append([]corev1.ContainerStatus{}, p.Status.InitContainerStatuses...), p.Status.ContainerStatuses...) {
		w, t := cs.State.Waiting, cs.LastTerminationState.Terminated
		at.container = cs.Name
		switch {
		case w != nil && (w.Reason == "ErrImagePull" || w.Reason == "ImagePullBackOff"):
			return as("ImagePull", fmt.Sprintf("container %s: %s", cs.Name, firstOf(w.Message, w.Reason+" of "+cs.Image)))
		case w != nil && w.Reason != "CrashLoopBackOff" && w.Reason != "ContainerCreating" && w.Reason != "PodInitializing" && w.Reason != "":
			return as(w.Reason, fmt.Sprintf("container %s, image %s: %s", cs.Name, cs.Image, w.Message))
		case !cs.Ready && cs.RestartCount > 0 && t != nil:
			return as("CrashLoop", fmt.Sprintf("container %s ended with code %d (%s), restarted %d times", cs.Name, t.ExitCode, t.Reason,
				cs.RestartCount))
		}
	}
	at.container = ""
	if e := newestWarning(p, events); e != nil {
		if _, known := patience[e.Reason]; known {
			return as(e.Reason, e.Message)
		}
		return as("NotReady", e.Reason+": "+e.Message)
	}
	for _, cs := range p.Status.ContainerStatuses {
		if w := cs.State.Waiting; w != nil {
			return as("NotReady", fmt.Sprintf("container %s: %s", cs.Name, firstOf(w.Message, w.Reason)))
		}
		if !cs.Ready {
			return as("NotReady", fmt.Sprintf("container %s runs but is not ready yet", cs.Name))
		}
	}
	return as("NotReady", "no container has started yet")
}

func newestWarning(p *corev1.Pod, events []*corev1.Event) *corev1.Event {
	var newest *corev1.Event
	for _, e := range events {
		if e.InvolvedObject.UID != p.UID || e.Type != corev1.EventTypeWarning {
			continue
		}
		if newest == nil || when(e).After(when(newest)) {
			newest = e
		}
	}
	return newest
}

func when(e *corev1.Event) time.Time {
	for _, t := range []time.Time{e.LastTimestamp.Time, e.EventTime.Time, e.FirstTimestamp.Time} {
		if !t.IsZero() {
			return t
		}
	}
	return e.CreationTimestamp.Time
}

func podReady(p *corev1.Pod) bool { return podHas(p, corev1.PodReady) }

// podHas says that a condition of a pod is true.
func podHas(p *corev1.Pod, condition corev1.PodConditionType) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == condition {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

func firstOf(s ...string) string {
	for _, x := range s {
		if x != "" {
			return x
		}
	}
	return ""
}

// oneLine keeps messages of controllers readable inside one sentence.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if len(s) > 400 {
		s = s[:400] + "..."
	}
	return s
}
