package engine

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"ambient.test/conformance/clusters/engine/private"
	"ambient.test/conformance/clusters/engine/socket"
	"ambient.test/conformance/internal/command"
)

// probe is the input of choose: which container engines answer on this machine.
type probe struct {
	// cli says whether the docker CLI is in PATH.
	cli bool
	// host is the engine that the user's environment points at, and named the variable that says
	// so; empty if it is only the default.
	host, named string
	// answers is the kind of engine behind host, "" if nothing answers, and said why not.
	answers string
	said    string
	// podman is the socket of a Podman that answers; empty if there is none.
	podman string
	// cannot says why a private engine cannot be started here; empty if it can.
	cannot string
}

// Kinds of engine.
const (
	docker = "docker"
	podman = "podman"
)

type decision struct {
	private bool
	host    string
	note    string
}

// choose decides which engine is used. It asks nobody, so that a table can test it.
func choose(mode string, s probe) (decision, error) {
	note := ""
	switch {
	case s.answers == podman:
		note = podmanNote(s.host)
	case s.podman != "":
		note = podmanNote(s.podman)
	}
	switch mode {
	case ModePrivate:
		if s.cannot != "" {
			return decision{}, fmt.Errorf("no private engine: %s", s.cannot)
		}
		return decision{private: true, note: note}, nil
	case ModeAuto, "", ModeDocker:
	default:
		return decision{}, fmt.Errorf("unknown engine mode %q: use --engine auto, docker or private", mode)
	}
	if s.answers == docker {
		if !s.cli {
			return decision{}, fmt.Errorf(
				"Docker answers at %s, but the docker CLI is not in PATH: install it (Debian: apt-get install docker-cli, or docker.io)",
				s.host,
			)
		}
		return decision{host: s.host}, nil // with Docker there, Podman is not worth a word
	}
	if s.named != "" && s.answers == "" {
		return decision{}, fmt.Errorf(
			"%s points at %s, but nothing answers there (%s): start that Docker, or unset %s", s.named, s.host, s.said, s.named,
		)
	}
	if mode == ModeDocker {
		return decision{}, sentences(fmt.Sprintf("no Docker answers at %s (%s): start it, or use --engine auto", s.host, s.said), note)
	}
	if s.cannot != "" {
		return decision{}, sentences(
			fmt.Sprintf("no Docker answers at %s (%s), and no private engine can be started: %s", s.host, s.said, s.cannot),
			note,
		)
	}
	return decision{private: true, note: note}, nil
}

func podmanNote(at string) string {
	return fmt.Sprintf("Podman answers at %s, but this suite has not been tried with it yet and does not use it", at)
}

func sentences(first, second string) error {
	if second == "" {
		return errors.New(first)
	}
	return errors.New(first + ". " + second)
}

const defaultHost = "unix:///var/run/docker.sock"

// inspect finds out what choose needs. It changes nothing.
func inspect(ctx context.Context, o Options) probe {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	s := probe{host: defaultHost, cannot: private.CannotStart(o.CacheDir)}
	_, err := exec.LookPath("docker")
	s.cli = err == nil
	switch {
	case os.Getenv("DOCKER_HOST") != "":
		s.host, s.named = os.Getenv("DOCKER_HOST"), "DOCKER_HOST"
	case s.cli:
		// Docker Desktop, Colima and rootless Docker put their socket into the CLI's current
		// context.
		out, err := exec.CommandContext(ctx, "docker", "context", "inspect", "--format", "{{.Endpoints.docker.Host}}").Output()
		if h := strings.TrimSpace(string(out)); err == nil && h != "" {
			s.host = h
		}
		if os.Getenv("DOCKER_CONTEXT") != "" {
			s.named = "DOCKER_CONTEXT"
		}
	}
	s.answers, s.said = ask(ctx, s.host, s.cli)
	if s.answers == "" {
		for _, sock := range podmanSockets() {
			if kind, _ := askSocket(ctx, sock); kind == podman {
				s.podman = "unix://" + sock
				break
			}
		}
	}
	return s
}

// ask returns what kind of engine answers at host.
func ask(ctx context.Context, host string, cli bool) (kind, said string) {
	if path, ok := strings.CutPrefix(host, "unix://"); ok {
		return askSocket(ctx, path)
	}
	if !cli {
		return "", "the docker CLI is not in PATH"
	}
	e := &Engine{Host: host}
	out, err := e.Output(ctx, "version", "--format", "{{range .Server.Components}}{{.Name}} {{end}}")
	if err != nil {
		return "", command.Tail(err.Error(), 1)
	}
	return kindOf(out), ""
}

// askSocket asks GET /version, which both engines answer and in which they name themselves.
func askSocket(ctx context.Context, path string) (kind, said string) {
	body, err := socket.Get(ctx, path, "/version")
	var op *net.OpError
	switch {
	case err == nil:
		return kindOf(body), ""
	case errors.Is(err, os.ErrNotExist):
		return "", "no such socket"
	case errors.Is(err, os.ErrPermission):
		return "", "permission denied: run as root or join the group docker"
	case errors.As(err, &op):
		return "", op.Err.Error()
	default:
		return "", err.Error()
	}
}

func kindOf(version string) string {
	if strings.Contains(version, "Podman Engine") {
		return podman
	}
	return docker
}

func podmanSockets() []string {
	s := []string{"/run/podman/podman.sock"}
	if d := os.Getenv("XDG_RUNTIME_DIR"); d != "" {
		s = append(s, filepath.Join(d, "podman", "podman.sock"))
	}
	return s
}
