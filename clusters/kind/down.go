package kind

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"ambient.test/conformance/clusters/engine"
	"ambient.test/conformance/framework/mesh"
	"ambient.test/conformance/internal/progress"
)

// belongings are the objects in the engine that carry the run's id both as a label and in their
// name.
type belongings struct {
	run, from                    string
	containers, networks, images []string
}

func (b belongings) empty() bool { return len(b.containers)+len(b.networks)+len(b.images) == 0 }

func (b belongings) String() string {
	return fmt.Sprintf("%d containers, %d networks, %d images", len(b.containers), len(b.networks), len(b.images))
}

const separator = "\t"

// belongingsByRun lists, by run id, what belongs to runs of amc, whoever started them. A non-empty
// run limits the list to that run.
func belongingsByRun(ctx context.Context, d docker, run string) (map[string]*belongings, error) {
	filter := "label=" + LabelRun
	if run != "" {
		filter += "=" + run
	}
	all := map[string]*belongings{}
	note := func(line string, pick func(*belongings) *[]string) {
		f := strings.Split(strings.TrimRight(line, "\r\n"), separator)
		if len(f) != 3 {
			return
		}
		name, id, from := f[0], f[1], f[2]
		name = strings.TrimPrefix(strings.TrimSuffix(name, ":latest"), "/")
		if CheckRunID(id) != nil || !strings.HasPrefix(name, prefix(id)) || (run != "" && id != run) {
			return // an object with only the label or only the name is not ours
		}
		b := all[id]
		if b == nil {
			b = &belongings{run: id}
			all[id] = b
		}
		if from != "" && from != "<no value>" {
			b.from = from
		}
		list := pick(b)
		*list = append(*list, name)
	}
	label := func(of string) string {
		return `{{index ` + of + ` "` + LabelRun + `"}}` + separator + `{{index ` + of + ` "` + LabelFrom + `"}}`
	}
	for _, kind := range []struct {
		list, inspect []string
		pick          func(*belongings) *[]string
	}{
		{
			[]string{"ps", "-a", "-q", "--no-trunc"},
			[]string{"container", "inspect", "-f", "{{.Name}}" + separator + label(".Config.Labels")},
			func(b *belongings) *[]string { return &b.containers },
		},
		{
			[]string{"network", "ls", "-q", "--no-trunc"},
			[]string{"network", "inspect", "-f", "{{.Name}}" + separator + label(".Labels")},
			func(b *belongings) *[]string { return &b.networks },
		},
		{
			[]string{"images", "-q", "--no-trunc"},
			[]string{"image", "inspect", "-f", "{{range .RepoTags}}{{.}}" + separator + label("$.Config.Labels") + "\n{{end}}"},
			func(b *belongings) *[]string { return &b.images },
		},
	} {
		out, err := d.Output(ctx, append(kind.list, "--filter", filter)...)
		if err != nil {
			return nil, err
		}
		ids := strings.Fields(out)
		if len(ids) == 0 {
			continue
		}
		slices.Sort(ids)
		out, err = d.Output(ctx, append(kind.inspect, slices.Compact(ids)...)...)
		if err != nil && out == "" && ctx.Err() == nil && gone(err) {
			return belongingsByRun(ctx, d, run) // an object was removed between list and inspect
		}
		if err != nil {
			return nil, err
		}
		for line := range strings.Lines(out) {
			note(line, kind.pick)
		}
	}
	return all, nil
}

// gone reports whether docker failed because the object does not exist or is already being removed.
func gone(err error) bool {
	s := strings.ToLower(err.Error())
	return strings.Contains(s, "no such") || strings.Contains(s, "not found") || strings.Contains(s, "already in progress")
}

func owned(ctx context.Context, d docker, run string) (*belongings, error) {
	all, err := belongingsByRun(ctx, d, run)
	if err != nil {
		return nil, err
	}
	if b := all[run]; b != nil {
		return b, nil
	}
	return &belongings{run: run}, nil
}

// dir returns the folder of the run's fleet file, or "" if that file is on another host.
func (b belongings) dir() string {
	dir, here := strings.CutPrefix(b.from, from(""))
	if !here {
		return ""
	}
	return dir
}

// dead reports whether no fleet file refers to the run any more, so that nobody will use or remove
// it. A run whose file cannot be read may still be in use, and a run of another host cannot be
// judged from here. Neither counts as dead.
func (b belongings) dead() bool {
	if b.dir() == "" {
		return false
	}
	f, err := mesh.Load(filepath.Join(b.dir(), FleetFile))
	return errors.Is(err, mesh.ErrNoFleet) || err == nil && f.RunID != b.run
}

// Run is a run of amc that owns objects in an engine.
type Run struct {
	ID   string
	From string // host:folder of its fleet file
	Has  string // what it owns, in words
	Dead bool   // its fleet file is gone, so nobody will use or remove it
}

// Runs lists the runs that own objects in the engine, sorted by id.
func Runs(ctx context.Context, e *engine.Engine) ([]Run, error) { return runs(ctx, e) }

func runs(ctx context.Context, d docker) ([]Run, error) {
	all, err := belongingsByRun(ctx, d, "")
	if err != nil {
		return nil, err
	}
	var list []Run
	for id, b := range all {
		list = append(list, Run{ID: id, From: b.from, Has: b.String(), Dead: b.dead()})
	}
	slices.SortFunc(list, func(a, b Run) int { return strings.Compare(a.ID, b.ID) })
	return list, nil
}

// DownOptions say what Down removes: the run RunID, or, if that is empty, the run of the fleet file
// in Dir. With Dead, Down also removes every dead run of the engine.
type DownOptions struct {
	RunID    string
	Dir      string
	Dead     bool
	Engine   *engine.Engine // may be nil if a fleet file in Dir names one
	Progress progress.Reporter
}

// Down removes a run: its containers with their volumes, its networks, node image, kubeconfigs and
// CA, and last its fleet file. It removes only objects that carry the run's id in both name and
// label. It can be called at any time and repeatedly, also after Up was killed halfway. It returns
// the ids of the runs from which it removed something.
func Down(ctx context.Context, o DownOptions) (removed []string, err error) {
	if o.Progress == nil {
		o.Progress = progress.Discard
	}
	e := o.Engine
	var ids []string
	fleet, err := mesh.Load(filepath.Join(o.Dir, FleetFile))
	switch {
	case o.RunID != "":
		if err := CheckRunID(o.RunID); err != nil {
			return nil, err
		}
		ids = []string{o.RunID}
	case err == nil && fleet.Provider == mesh.ProviderKind:
		ids = []string{fleet.RunID}
	case err == nil:
		return nil, fmt.Errorf("%s describes a fleet that amc did not create (%s), so nothing is removed: delete the file to forget the fleet",
			fleet.Path(), fleet.Provider)
	case !errors.Is(err, mesh.ErrNoFleet) && !o.Dead:
		return nil, fmt.Errorf("%w; or name the run with `amc down --run ID`, or remove all that are left over with `amc down --all`", err)
	}
	if e == nil && fleet != nil && fleet.Kind != nil && (o.RunID == "" || o.RunID == fleet.RunID) {
		e = &engine.Engine{Host: fleet.Kind.DockerHost}
	}
	if e == nil {
		return nil, errors.New("no container engine is known: give the folder of the fleet file")
	}
	if o.Dead {
		list, err := Runs(ctx, e)
		if err != nil {
			return nil, err
		}
		for _, r := range list {
			if r.Dead && !slices.Contains(ids, r.ID) {
				ids = append(ids, r.ID)
			}
		}
	}
	phase := o.Progress.Phase("down", len(ids))
	defer func() { phase.Close(err) }()
	for _, id := range ids {
		item := phase.Item(id)
		some, err := removeRun(ctx, e, id, o.Dir, item)
		item.Done(err)
		if err != nil {
			return removed, fmt.Errorf("run %s: %w: run `amc down --run %s` again", id, err, id)
		}
		if some {
			removed = append(removed, id)
		}
	}
	return removed, nil
}

// removeRun repeats until it finds nothing, because a docker command of a killed Up may still
// finish and create objects meanwhile.
func removeRun(ctx context.Context, d docker, run, dir string, item progress.Item) (some bool, err error) {
	dirs := []string{dir}
	var last error
	for range 20 {
		b, err := owned(ctx, d, run)
		if err != nil {
			return some, err
		}
		if dir := b.dir(); dir != "" {
			dirs = append(dirs, dir)
		}
		if b.empty() {
			last = nil
			break
		}
		some = true
		item.Note("removing %s", b)
		last = nil
		for _, step := range []struct {
			args  []string
			names []string
		}{
			{[]string{"rm", "-f", "-v"}, b.containers},
			{[]string{"network", "rm"}, b.networks},
			{[]string{"rmi"}, b.images},
		} {
			if len(step.names) == 0 {
				continue
			}
			if _, err := d.Output(ctx, append(step.args, step.names...)...); err != nil {
				if ctx.Err() != nil {
					return some, context.Cause(ctx)
				}
				last = err
			}
		}
	}
	if last != nil {
		return some, last
	}
	for _, dir := range dirs {
		was, err := forget(dir, run)
		some = some || was
		if err != nil {
			return some, err
		}
	}
	return some, nil
}

// forget removes the run's files in the folder if the fleet file there is the run's: kubeconfigs,
// CA, and last the fleet file itself.
func forget(dir, run string) (bool, error) {
	path := filepath.Join(dir, FleetFile)
	f, err := mesh.Load(path)
	if dir == "" || err != nil || f.RunID != run {
		return false, nil //nolint:nilerr // a missing or unreadable fleet file is not known to be the run's
	}
	for _, c := range f.Members() {
		if inside(dir, c.Kubeconfig) {
			for _, p := range []string{c.Kubeconfig, c.Kubeconfig + ".lock"} {
				if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
					return true, err
				}
			}
			_ = os.Remove(filepath.Dir(c.Kubeconfig)) // if nothing else is in it
		}
	}
	// framework/install recorded here what the clusters held before the mesh. It is of no use without
	// them.
	_ = os.RemoveAll(filepath.Join(dir, "before-mesh"))
	if f.CADir != "" && inside(dir, f.CADir) {
		if err := os.RemoveAll(f.CADir); err != nil {
			return true, err
		}
	}
	return true, os.Remove(path)
}

// inside reports whether path is below dir. Thus a fleet file that was edited or moved cannot make
// Down delete files elsewhere.
func inside(dir, path string) bool {
	dir, err1 := filepath.Abs(dir)
	path, err2 := filepath.Abs(path)
	return err1 == nil && err2 == nil && strings.HasPrefix(path, dir+string(filepath.Separator))
}
