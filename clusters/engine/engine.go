// Package engine finds the container engine that clusters and images are made with, and checks the
// machine it runs on.
//
// A Docker that answers is used as it is. On a Linux host that has none, a private one is started;
// see package private.
package engine

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"ambient.test/conformance/clusters/engine/private"
	"ambient.test/conformance/internal/command"
	"ambient.test/conformance/internal/progress"
)

// Modes of Options.
const (
	ModeAuto    = "auto"    // the Docker that answers, else a private engine
	ModeDocker  = "docker"  // the Docker that answers, else an error
	ModePrivate = "private" // a private engine, also where its client could reach another Docker elsewhere
)

// Engine is a Docker that answers.
type Engine struct {
	// Host is the value of DOCKER_HOST that reaches it, for example unix:///var/run/docker.sock.
	Host string
	// Private says that it is the one under the cache folder, started by Find.
	Private bool
	// Version is the server's, for example 20.10.24+dfsg1.
	Version string
	// DataRoot is the server's data folder; it is a path of this machine only when Local.
	DataRoot string
	// Local says that the server runs on this machine: its socket is a Unix socket and its data
	// root is here.
	Local bool
	// Note is a sentence about what was seen and not used, empty if there is nothing to say.
	Note string

	short bool
}

// Options of Find.
type Options struct {
	// Mode is auto (also ""), docker or private.
	Mode string
	// CacheDir is where a private engine lives, in its subfolder engine. Needed for auto and
	// private.
	CacheDir string
	// Progress may be nil.
	Progress progress.Reporter
}

// Find returns an engine that answers. Where the mode allows it and no other answers, it starts the
// private one, or recovers it. It never changes a Docker that it did not start.
func Find(ctx context.Context, o Options) (*Engine, error) {
	if o.Progress == nil {
		o.Progress = progress.Discard
	}
	d, err := choose(o.Mode, inspect(ctx, o))
	if err != nil {
		return nil, err
	}
	e := &Engine{Host: d.host, Private: d.private}
	if d.private {
		if e.Host, err = private.Start(ctx, o.CacheDir, o.Progress); err != nil {
			return nil, err
		}
	}
	if err := e.describe(ctx); err != nil {
		return nil, err
	}
	e.Note = d.note
	e.short = len(private.MissingCapabilities(osHost.read)) > 0
	return e, nil
}

// describe fills in what the server says about itself.
func (e *Engine) describe(ctx context.Context) error {
	out, err := e.Output(ctx, "info", "--format", "{{.ServerVersion}}\n{{.DockerRootDir}}")
	if err != nil {
		return err
	}
	e.Version, e.DataRoot, _ = strings.Cut(out, "\n")
	if strings.HasPrefix(e.Host, "unix://") {
		// A socket of this machine may still lead into a virtual machine (Docker Desktop): then the
		// data root is not here.
		_, err := os.Stat(e.DataRoot)
		e.Local = err == nil
	}
	return nil
}

// NeedsWrapper reports whether containers of this engine, and those inside the nodes, must start
// through the OCI runtime wrapper (see private.BuildWrapper). They must where this machine's
// capability bounding set lacks a capability that the kernel knows.
func (e *Engine) NeedsWrapper() bool { return e.short }

// Docker returns the docker CLI bound to this engine. The caller sets its streams and runs it; it
// ends with ctx.
func (e *Engine) Docker(ctx context.Context, args ...string) *exec.Cmd {
	c := exec.CommandContext(ctx, "docker", args...)
	c.Env = e.Env()
	c.WaitDelay = 5 * time.Second
	return c
}

// Env returns the environment of this process, with the variables that select an engine set to this
// one. Libraries that call the docker CLI themselves need it.
func (e *Engine) Env() []string {
	env := make([]string, 0, len(os.Environ())+1)
	for _, v := range os.Environ() {
		if name, _, _ := strings.Cut(v, "="); name != "DOCKER_HOST" && name != "DOCKER_CONTEXT" {
			env = append(env, v)
		}
	}
	return append(env, "DOCKER_HOST="+e.Host)
}

// Output runs the docker CLI and returns its standard output without the last line break. The error
// holds what docker said.
func (e *Engine) Output(ctx context.Context, args ...string) (string, error) {
	return e.Feed(ctx, nil, args...)
}

// Run is Output without the output.
func (e *Engine) Run(ctx context.Context, args ...string) error {
	_, err := e.Output(ctx, args...)
	return err
}

// Feed is Output with standard input, for commands such as load and import.
func (e *Engine) Feed(ctx context.Context, stdin io.Reader, args ...string) (string, error) {
	c := e.Docker(ctx, args...)
	var out, errs bytes.Buffer
	c.Stdout, c.Stderr = &out, &errs
	if stdin != nil {
		c.Stdin = stdin
	}
	if err := c.Run(); err != nil {
		return "", &CommandError{Args: args, Host: e.Host, Stderr: errs.String(), Err: command.Cause(ctx, err)}
	}
	return strings.TrimRight(out.String(), "\n"), nil
}

// CommandError is a docker command that failed.
type CommandError struct {
	Args   []string
	Host   string
	Stderr string // all of it
	Err    error  // exit status, context's error, or why the CLI could not start
}

func (e *CommandError) Error() string {
	said := command.Tail(e.Stderr, 3)
	if said == "" {
		said = "it said nothing"
	}
	return fmt.Sprintf("docker %s (DOCKER_HOST=%s): %v: %s", strings.Join(brief(e.Args), " "), e.Host, e.Err, said)
}

func (e *CommandError) Unwrap() error { return e.Err }

// brief keeps a command line readable in an error: its first words.
func brief(args []string) []string {
	const most = 12
	if len(args) <= most {
		return args
	}
	return append(append([]string{}, args[:most]...), "...")
}
