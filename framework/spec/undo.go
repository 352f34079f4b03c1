package spec

import (
	"context"
	"slices"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"ambient.test/conformance/framework/fixture"
	"ambient.test/conformance/framework/undo"
)

// kept is an object that is not the spec's own, as it was before the spec changes it.
type kept struct {
	note *undo.Note
	// undo makes the object what it was; by the note, if the verb knows no better.
	undo func(context.Context) error
	// restore undoes the change, once.
	restore func(context.Context) error
}

// keep notes how an object of a mesh is, before the spec changes it: if the run is killed, the next
// one undoes the change. After the spec, at the latest, the object is as before. Fields are what
// the spec changes of it; none stands for all.
func (t *T) keep(c *Cluster, o client.Object, fields ...undo.Field) *kept {
	note, err := undo.Write(t.ctx, c.Cluster, fixture.PlainNamespace, t.owner(), o, fields...)
	t.NoError(err)
	k := &kept{note: note, undo: note.Undo}
	k.restore = untilDone(func(ctx context.Context) error {
		if err := k.undo(ctx); err != nil {
			return err
		}
		return note.Forget(ctx)
	})
	t.Cleanup(k.restore)
	return k
}

// restoring returns what gives objects back before the spec ends, as a change of its own.
func (t *T) restoring(before ...*kept) (restore func()) {
	return func() {
		t.change(func() { Each(t, before, func(k *kept) { t.NoError(k.restore(t.ctx)) }) })
	}
}

// own says whether a namespace is the suite's: what is left there is swept.
func own(namespace string) bool { return slices.Contains(fixture.Namespaces, namespace) }

// untilDone is an undoing that does nothing once it has succeeded. What fails is tried again when
// it is called again.
func untilDone(undo func(context.Context) error) func(context.Context) error {
	done := false
	return func(ctx context.Context) error {
		if done {
			return nil
		}
		err := undo(ctx)
		done = err == nil
		return err
	}
}
