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
	// undo makes the object what it was; nil does so by the note.
	undo func(context.Context) error
	done bool
}

// keep notes how an object of a mesh is, before the spec changes it: if the run is killed, the next
// one undoes the change. After the spec, at the latest, the object is as before. Fields are what
// the spec changes of it; none stands for all.
func (t *T) keep(c *Cluster, o client.Object, fields ...undo.Field) *kept {
	note, err := undo.Write(t.ctx, c.Cluster, fixture.PlainNamespace, t.owner(), o, fields...)
	t.NoError(err)
	k := &kept{note: note}
	t.Cleanup(k.restore)
	return k
}

// restore undoes the change. It does nothing once it has succeeded, and tries again what has
// failed.
func (k *kept) restore(ctx context.Context) error {
	if k.done {
		return nil
	}
	do := k.note.Undo
	if k.undo != nil {
		do = k.undo
	}
	if err := do(ctx); err != nil {
		return err
	}
	if err := k.note.Forget(ctx); err != nil {
		return err
	}
	k.done = true
	return nil
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
