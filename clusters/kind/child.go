package kind

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"
	"unicode"

	"sigs.k8s.io/kind/pkg/cluster"
	kindexec "sigs.k8s.io/kind/pkg/exec"
	"sigs.k8s.io/kind/pkg/log"

	"ambient.test/conformance/clusters/engine"
)

// ChildEnv is set in a process that creates one cluster and does nothing else. A program that calls
// Up must call ChildMain first of all in main when it is set; a test binary does so in TestMain.
const ChildEnv = "AMC_KIND_CHILD"

// kind reads the container network of a cluster from this variable of its process, so every cluster
// needs a process of its own.
const networkEnv = "KIND_EXPERIMENTAL_DOCKER_NETWORK"

// request is what the parent writes to a child's standard input. The parent then keeps the pipe
// open. When it closes, because the parent gave up or died, the child ends itself and what it
// started. (PR_SET_PDEATHSIG would be Linux only, and bound to a thread of the parent.)
type request struct {
	Cluster    string
	Config     string // kind's YAML
	Kubeconfig string
	Log        string // file for all that kind and kubeadm say
}

// event is one line from the child to the parent.
type event struct {
	Stage string `json:",omitempty"` // what kind is doing now, in its own words
	Error string `json:",omitempty"`
	Tail  string `json:",omitempty"` // the last lines of the command that failed
}

// ChildMain creates the one cluster that standard input asks for, and reports on standard output.
// args is not used. The caller exits with a code other than 0 on an error.
func ChildMain(args []string) error {
	in := bufio.NewReader(os.Stdin)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("%s is set, but no request came on standard input: this process is only of use to `amc up`", ChildEnv)
	}
	var o request
	if err := json.Unmarshal(line, &o); err != nil {
		return fmt.Errorf("request is malformed: %w", err)
	}
	go func() {
		_, _ = io.Copy(io.Discard, in)
		endGroup()
	}()
	logFile, err := os.OpenFile(o.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logFile.Close()
	l := &logger{file: logFile, say: json.NewEncoder(os.Stdout)}
	fmt.Fprintf(logFile, "== %s kind creates %s\n", time.Now().Format(time.RFC3339), o.Cluster)
	err = cluster.NewProvider(cluster.ProviderWithDocker(), cluster.ProviderWithLogger(l)).Create(o.Cluster,
		cluster.CreateWithRawConfig([]byte(o.Config)),
		cluster.CreateWithKubeconfigPath(o.Kubeconfig),
		cluster.CreateWithRetain(true)) // who retries removes; who debugs wants to see
	if err != nil {
		w := event{Error: err.Error()}
		if run := kindexec.RunErrorForError(err); run != nil {
			fmt.Fprintf(logFile, "%s\n", run.Output)
			w.Tail = tail(string(run.Output), 4)
		}
		_ = l.say.Encode(w)
	}
	return err
}

func tail(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], " | ")
}

// logger reports kind's stages to the parent, and writes everything down to kubeadm's output (level
// 3) to a file.
type logger struct {
	mu   sync.Mutex
	file io.Writer
	say  *json.Encoder
}

func (l *logger) write(stage bool, s string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	s = strings.TrimRight(s, "\n")
	fmt.Fprintln(l.file, s)
	if doing, ok := strings.CutPrefix(s, " • "); ok && stage {
		_ = l.say.Encode(event{Stage: strings.TrimRightFunc(doing, func(r rune) bool { return r > unicode.MaxASCII || r == ' ' || r == '.' })})
	}
}

func (l *logger) Warn(m string)                    { l.write(false, m) }
func (l *logger) Warnf(f string, a ...any)         { l.write(false, fmt.Sprintf(f, a...)) }
func (l *logger) Error(m string)                   { l.write(false, m) }
func (l *logger) Errorf(f string, a ...any)        { l.write(false, fmt.Sprintf(f, a...)) }
func (l *logger) V(level log.Level) log.InfoLogger { return info{l, level} }

type info struct {
	*logger
	level log.Level
}

func (i info) Enabled() bool { return i.level <= 3 }
func (i info) Info(m string) {
	if i.Enabled() {
		i.write(i.level == 0, m)
	}
}
func (i info) Infof(f string, a ...any) { i.Info(fmt.Sprintf(f, a...)) }

// failure is a child's.
type failure struct {
	stage string // where it was
	event
}

func (f *failure) Error() string {
	s := fmt.Sprintf("kind failed at %q: %s", f.stage, f.event.Error)
	if f.Tail != "" {
		s += ": " + f.Tail
	}
	return s
}

// runChild runs one child process and reports its stages.
func runChild(ctx context.Context, e *engine.Engine, network string, o request, stage func(string)) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	for _, dir := range []string{filepath.Dir(o.Kubeconfig), filepath.Dir(o.Log)} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			return err
		}
	}
	line, err := json.Marshal(o)
	if err != nil {
		return err
	}
	c := exec.CommandContext(ctx, self)
	c.Env = append(e.Env(), ChildEnv+"=1", networkEnv+"="+network, "KUBECONFIG="+o.Kubeconfig)
	c.WaitDelay = 5 * time.Second
	ownGroup(c)
	stdin, err := c.StdinPipe()
	if err != nil {
		return err
	}
	stdout, err := c.StdoutPipe()
	if err != nil {
		return err
	}
	var stderr bytes.Buffer
	c.Stderr = &stderr
	if err := c.Start(); err != nil {
		return err
	}
	_, err = stdin.Write(append(line, '\n'))
	last := &failure{stage: "start"}
	for dec := json.NewDecoder(stdout); err == nil; {
		var w event
		if err = dec.Decode(&w); err != nil {
			break
		}
		switch {
		case w.Stage != "":
			last.stage = w.Stage
			stage(w.Stage)
		case w.Error != "":
			last.event = w
		}
	}
	_ = stdin.Close()
	err = c.Wait()
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case last.event.Error != "":
		return last
	default:
		return errors.Join(fmt.Errorf("the process that creates %s ended: %w", o.Cluster, err), errors.New(tail(stderr.String(), 3)))
	}
}
