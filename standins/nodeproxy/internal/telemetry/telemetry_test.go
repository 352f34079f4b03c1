package telemetry

import (
	"bytes"
	"encoding/json"
	"errors"
	"log/slog"
	"net/netip"
	"regexp"
	"strings"
	"testing"

	"istio.io/istio/pkg/workloadapi"
)

func record() *Record {
	return &Record{
		Reporter:  Source,
		Src:       netip.MustParseAddrPort("10.0.0.1:1"),
		Dst:       netip.MustParseAddrPort("[2001:db8::1]:15008"),
		HBONE:     "[2001:db8::1]:80",
		MutualTLS: true,
		Source:    Peer{Workload: "a-deploy", Namespace: "ns", Pod: "a", Principal: "spiffe://td/ns/ns/sa/a", Cluster: "c1"},
		Service:   &workloadapi.Service{Name: "svc", Namespace: "ns", Hostname: "svc.example"},
	}
}

func TestAccessLine(t *testing.T) {
	var b bytes.Buffer
	r := &Recorder{Metrics: NewMetrics("x"), Access: NewLogger(&b, "", slog.LevelInfo).With("target", "access")}
	c := r.Opened(record())
	c.Received(3)
	c.Sent(5)
	c.Closed(errors.New(`it "broke"`), ConnectFailed)
	c.Closed(nil, NoFlag) // only the first counts
	want := `^[0-9T:.-]+Z\terror\taccess\tconnection complete\tsrc\.addr=10\.0\.0\.1:1 src\.workload="a" ` +
		`src\.namespace="ns" src\.identity="spiffe://td/ns/ns/sa/a" src\.cluster="c1" ` +
		`dst\.addr=\[2001:db8::1\]:15008 dst\.hbone_addr=\[2001:db8::1\]:80 dst\.service="svc\.example" ` +
		`direction="outbound" bytes_sent=3 bytes_recv=5 duration="[0-9]+ms" error="it \\"broke\\""\n$`
	if !regexp.MustCompile(want).MatchString(b.String()) {
		t.Fatalf("%s\ndoes not match\n%s", b.String(), want)
	}
}

func TestJSON(t *testing.T) {
	var b bytes.Buffer
	r := &Recorder{Metrics: NewMetrics("x"), Access: NewLogger(&b, "json", slog.LevelInfo).With("target", "access")}
	r.Opened(record()).Closed(nil, ConnectFailed)
	r.Refused(Destination, record().Src, record().Dst, errors.New("no"))
	d := json.NewDecoder(&b)
	for _, want := range []map[string]any{
		{"level": "info", "scope": "access", "message": "connection complete", "dst.addr": "[2001:db8::1]:15008", "bytes_sent": 0.0},
		{"level": "warn", "direction": "inbound", "error": "no"},
	} {
		got := map[string]any{}
		if err := d.Decode(&got); err != nil {
			t.Fatal(err)
		}
		for k, v := range want {
			if got[k] != v {
				t.Errorf("%s: %v, expected %v", k, got[k], v)
			}
		}
	}
}

func TestLevels(t *testing.T) {
	for in, want := range map[string]slog.Level{
		"": slog.LevelInfo, "debug": slog.LevelDebug, "access=debug,warn": slog.LevelWarn, "error": slog.LevelError,
		"nonsense": slog.LevelInfo,
	} {
		t.Run(in, func(t *testing.T) {
			if got := ParseLevel(in); got != want {
				t.Errorf("got %v, want %v", got, want)
			}
		})
	}
}

func TestLabels(t *testing.T) {
	m := NewMetrics("x")
	r := &Recorder{Metrics: m, Access: NewLogger(&bytes.Buffer{}, "", slog.LevelInfo)}
	r.Opened(record()).Closed(errors.New("no"), Denied)
	families, err := m.Gatherer().Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != "istio_tcp_connections_failed_total" {
			continue
		}
		var got []string
		for _, l := range f.Metric[0].Label {
			got = append(got, l.GetName()+"="+l.GetValue())
		}
		all := strings.Join(got, " ")
		for _, want := range []string{
			"reporter=source", "response_flags=DENY", "connection_security_policy=mutual_tls", "source_workload=a-deploy",
			"destination_workload=unknown", "destination_service_name=svc", "source_principal=spiffe://td/ns/ns/sa/a",
			"request_protocol=tcp",
		} {
			if !strings.Contains(all, want) {
				t.Errorf("%s not in %s", want, all)
			}
		}
		return
	}
	t.Fatal("not counted")
}
