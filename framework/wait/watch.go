package wait

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	backoff "k8s.io/apimachinery/pkg/util/wait"
	kwatch "k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/mesh"
)

// watcher follows a few kinds of objects and judges their state after every change.
type watcher struct {
	client  client.WithWatch
	cluster *mesh.Cluster
	object  string // what is waited for
	next    string // arguments of the kubectl command that shows more
	sources []source
}

// source is one list-and-watch.
type source struct {
	list client.ObjectList
	opts []client.ListOption
}

// state holds the current objects of each source.
type state struct {
	objects []map[types.NamespacedName]client.Object
}

type verdict struct {
	done     bool
	seen     string
	problems []Problem
}

// change is one step of a source: a new start with all its objects, one object set or removed, or
// an error of the source.
type change struct {
	source  int
	reset   []client.Object
	isReset bool
	set     client.Object
	remove  client.Object
	err     error
}

// until judges after every change. It ends when the verdict is done, when a problem has lasted
// longer than its patience, or with ctx.
func (w *watcher) until(ctx context.Context, judge func(*state) verdict) error {
	ctx, cancel := Give(ctx, Budget)
	defer cancel()
	say, _ := ctx.Value(sayKey{}).(func(string, ...any))
	if say == nil {
		say = func(string, ...any) {}
	}
	u := &watching{
		watcher: w, say: say, begin: time.Now(), since: map[string]time.Time{}, said: map[string]bool{},
		state: &state{objects: make([]map[types.NamespacedName]client.Object, len(w.sources))},
	}
	changes := make(chan change)
	for i := range w.sources {
		go w.follow(ctx, i, changes)
	}
	alarm := time.NewTimer(0)
	defer alarm.Stop()
	for {
		select {
		case <-ctx.Done():
			return u.fail(ctx, nil, context.Cause(ctx))
		case ch := <-changes:
			if ch.err != nil {
				u.sourceErr = ch.err
				// A server that refuses once will refuse again.
				if apierrors.IsForbidden(ch.err) || apierrors.IsUnauthorized(ch.err) {
					return u.fail(ctx, nil, ch.err)
				}
				continue
			}
			u.state.take(ch)
		case <-alarm.C:
		}
		if !u.state.complete() {
			continue
		}
		u.last = judge(u.state)
		if u.last.done {
			return nil
		}
		u.once(u.last.seen, "%s: %s", w.object, u.last.seen)
		overdue, wake := u.problems(time.Now())
		if overdue != nil {
			return u.fail(ctx, overdue, nil)
		}
		if wake > 0 {
			alarm.Reset(wake)
		}
	}
}

// watching is a watcher while it waits.
type watching struct {
	*watcher
	say       func(string, ...any)
	begin     time.Time
	state     *state
	last      verdict
	since     map[string]time.Time // when each problem of the last verdict was first seen
	said      map[string]bool
	sourceErr error
}

// once says something the first time that it is so. There is nothing to say of an empty key.
func (u *watching) once(key, format string, args ...any) {
	if key == "" || u.said[key] {
		return
	}
	u.said[key] = true
	u.say(format, args...)
}

// problems counts how long each problem of the last verdict lasts. It returns one that has lasted
// longer than its patience, or else the time until the next one will have; 0 if none ever does.
func (u *watching) problems(now time.Time) (overdue *Problem, wake time.Duration) {
	present := map[string]bool{}
	for i := range u.last.problems {
		p := &u.last.problems[i]
		k := p.key()
		present[k] = true
		if u.since[k].IsZero() {
			u.since[k] = now
		}
		if p.Reason != "NotReady" { // a reason is worth reporting, "not ready yet" is not
			u.once(k, "%s", p)
		}
		limit, known := patience[p.Reason]
		if !known || limit == never {
			continue
		}
		left := limit - now.Sub(u.since[k])
		if left <= 0 {
			return p, 0
		}
		if wake == 0 || left < wake {
			wake = left
		}
	}
	maps.DeleteFunc(u.since, func(k string, _ time.Time) bool { return !present[k] })
	return nil, wake
}

// fail is the error of a wait that is over: because of p, or else for a cause.
func (u *watching) fail(ctx context.Context, p *Problem, cause error) error {
	reason, blamed := firstOf(u.last.seen, "nothing was seen of it"), p
	if blamed == nil && len(u.last.problems) > 0 {
		blamed = &u.last.problems[0]
	}
	next := u.next
	switch {
	case blamed != nil:
		reason += "; " + blamed.String() + lastWords(ctx, u.cluster, blamed)
		if blamed.pod != nil {
			next = fmt.Sprintf("-n %s describe pod %s", blamed.pod.Namespace, blamed.pod.Name)
		}
	case u.sourceErr != nil && !u.state.complete():
		reason = "it cannot be watched: " + oneLine(u.sourceErr.Error())
	}
	return &Error{Cluster: u.cluster.Name, Object: u.object, Reason: reason, Waited: time.Since(u.begin),
		Next: u.cluster.Kubectl() + " " + next, Problem: p, cause: cause}
}

// follow keeps one source up to date until ctx ends. A reflector does the listing, watching and
// starting over; feed receives what it learns.
func (w *watcher) follow(ctx context.Context, i int, out chan<- change) {
	f := feed{ctx: ctx, source: i, out: out}
	cache.NewReflectorWithOptions(w.listWatch(i, f), nil, f, cache.ReflectorOptions{
		// The default pause grows to 30 seconds, which is longer than the patience for most problems.
		Backoff: &backoff.Backoff{Duration: 50 * time.Millisecond, Factor: 2, Cap: time.Second, Steps: 10},
	}).RunWithContext(klog.NewContext(ctx, klog.Logger{})) // errors go into the wait's own error, not to a log
}

// listWatch lists and watches the objects of a source, and tells the feed what the server refuses.
func (w *watcher) listWatch(i int, f feed) cache.ListerWatcher {
	src := w.sources[i]
	empty := func() client.ObjectList { return src.list.DeepCopyObject().(client.ObjectList) }
	return plainList{&cache.ListWatch{
		// Without the reflector's options, which allow a stale list: what was just written must be in it.
		ListWithContextFunc: func(ctx context.Context, _ metav1.ListOptions) (runtime.Object, error) {
			list := empty()
			err := w.client.List(ctx, list, src.opts...)
			f.fail(err)
			return list, err
		},
		WatchFuncWithContext: func(ctx context.Context, o metav1.ListOptions) (kwatch.Interface, error) {
			watch, err := w.client.Watch(ctx, empty(), append(slices.Clone(src.opts), &client.ListOptions{Raw: &o})...)
			f.fail(err)
			return watch, err
		},
	}}
}

// plainList makes a reflector list before it watches. Streaming the list instead saves memory with
// large lists only, and needs a server that supports it.
type plainList struct{ *cache.ListWatch }

func (plainList) IsWatchListSemanticsUnSupported() bool { return true }

// feed is the store of a reflector: it passes every change on.
type feed struct {
	ctx    context.Context
	source int
	out    chan<- change
}

func (f feed) send(c change) error {
	c.source = f.source
	select {
	case f.out <- c:
		return nil
	case <-f.ctx.Done():
		return context.Cause(f.ctx)
	}
}

func (f feed) fail(err error) {
	if err != nil {
		_ = f.send(change{err: err})
	}
}

func (f feed) Add(o any) error    { return f.send(change{set: o.(client.Object)}) }
func (f feed) Update(o any) error { return f.send(change{set: o.(client.Object)}) }
func (f feed) Delete(o any) error { return f.send(change{remove: o.(client.Object)}) }
func (feed) Resync() error        { return nil }

func (f feed) Replace(all []any, _ string) error {
	c := change{isReset: true}
	for _, o := range all {
		c.reset = append(c.reset, o.(client.Object))
	}
	return f.send(c)
}

func (s *state) take(c change) {
	switch {
	case c.isReset:
		s.objects[c.source] = map[types.NamespacedName]client.Object{}
		for _, o := range c.reset {
			s.objects[c.source][client.ObjectKeyFromObject(o)] = o
		}
	case c.set != nil:
		s.objects[c.source][client.ObjectKeyFromObject(c.set)] = c.set
	case c.remove != nil:
		delete(s.objects[c.source], client.ObjectKeyFromObject(c.remove))
	}
}

// complete reports whether every source was listed once.
func (s *state) complete() bool {
	return !slices.ContainsFunc(s.objects, func(m map[types.NamespacedName]client.Object) bool { return m == nil })
}

// podsBy returns the pods of a source that match the selector (nil: all), in the order of their
// names.
func (s *state) podsBy(source int, selector *metav1.LabelSelector) []*corev1.Pod {
	sel := labels.Everything()
	if selector != nil {
		var err error
		if sel, err = metav1.LabelSelectorAsSelector(selector); err != nil {
			sel = labels.Nothing() // the API server has validated it: cannot happen with a real one
		}
	}
	var out []*corev1.Pod
	for _, o := range s.objects[source] {
		if p := o.(*corev1.Pod); sel.Matches(labels.Set(p.Labels)) {
			out = append(out, p)
		}
	}
	slices.SortFunc(out, func(a, b *corev1.Pod) int { return cmp.Compare(a.Name, b.Name) })
	return out
}

func (s *state) events(source int) []*corev1.Event {
	var out []*corev1.Event
	for _, o := range s.objects[source] {
		out = append(out, o.(*corev1.Event))
	}
	return out
}
