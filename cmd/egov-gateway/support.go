package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"runtime/debug"
	"runtime/pprof"
	"slices"
	"strings"
	"time"

	"github.com/goccy/go-yaml"

	"egov-gateway/gateway/monitoring"
	"egov-gateway/gateway/private"
)

type monitoringCmd struct {
	Metrics monitoringMetricsCmd `cmd:"" help:"Print the table of metrics: name, type, labels, unit, meaning."`
	Write   monitoringWriteCmd   `cmd:"" help:"Write alert rules, dashboards and runbook into a folder."`
}

type monitoringMetricsCmd struct{}

// Run prints METRICS.md.
func (monitoringMetricsCmd) Run(out streams) error {
	raw, err := monitoring.FS.ReadFile("METRICS.md")
	if err == nil {
		_, err = out.out.Write(raw)
	}
	return err
}

type monitoringWriteCmd struct {
	Dir string `arg:"" type:"path" help:"Folder, made if missing."`
}

// Run writes what Prometheus and Grafana read.
func (m *monitoringWriteCmd) Run(out streams) error {
	return fs.WalkDir(monitoring.FS, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		to := filepath.Join(m.Dir, filepath.FromSlash(name))
		if d.IsDir() {
			return os.MkdirAll(to, 0o755)
		}
		raw, err := monitoring.FS.ReadFile(name)
		if err != nil {
			return err
		}
		fmt.Fprintln(out.out, to)
		return os.WriteFile(to, raw, 0o644)
	})
}

type supportCmd struct {
	Config string `required:"" type:"path" placeholder:"FILE" help:"Configuration file of the gateway."`
	Out    string `type:"path" default:"egov-gateway-support.tar.gz" help:"Where to write the bundle."`
}

// Run gathers what a supporter needs and nothing that is anybody's: versions, the configuration
// with an allow-list of values, metrics, readiness, goroutines, counts of the journal. Documents,
// the log, secrets and keys are never read.
func (s *supportCmd) Run(out streams) error {
	c, err := LoadConfig(s.Config)
	if err != nil {
		return err
	}
	f, err := private.OpenFile(s.Out, os.O_CREATE|os.O_WRONLY|os.O_TRUNC)
	if err != nil {
		return err
	}
	defer f.Close()
	zip := gzip.NewWriter(f)
	w := tar.NewWriter(zip)
	for _, part := range []struct {
		name string
		make func() ([]byte, error)
	}{
		{"versions.txt", versions}, {"config.yaml", func() ([]byte, error) { return yaml.Marshal(redacted(reflect.ValueOf(*c), "")) }},
		{"metrics.txt", c.ask("/metrics")}, {"readyz.json", c.ask("/readyz")}, {"goroutines.txt", c.ask("/debug/goroutines")}, {"journal.json", c.journalCounts},
	} {
		body, err := part.make()
		if err != nil { // a gateway that is down is a reason to ask for support, not to refuse it
			fmt.Fprintf(out.err, "%s: %v\n", part.name, err)
			part.name, body = part.name+".error", []byte(err.Error()+"\n")
		}
		if err := w.WriteHeader(&tar.Header{Name: "egov-gateway-support/" + part.name, Mode: 0o600, Size: int64(len(body)), ModTime: time.Now()}); err != nil {
			return err
		}
		if _, err := w.Write(body); err != nil {
			return err
		}
	}
	for _, close := range []func() error{w.Close, zip.Close, f.Close} {
		if err := close(); err != nil {
			return err
		}
	}
	fmt.Fprintln(out.out, s.Out)
	return nil
}

func versions() ([]byte, error) {
	var b bytes.Buffer
	v, g := version()
	fmt.Fprintf(&b, "egov-gateway %s %s %s/%s\n", v, g, runtime.GOOS, runtime.GOARCH)
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, d := range info.Deps {
			fmt.Fprintf(&b, "%s %s\n", d.Path, d.Version)
		}
	}
	return b.Bytes(), nil
}

// ask reads a page of the running gateway's admin address.
func (c *Config) ask(path string) func() ([]byte, error) {
	return func() ([]byte, error) {
		host, port, err := net.SplitHostPort(c.Admin)
		if err != nil {
			return nil, err
		}
		if ip := net.ParseIP(host); host == "" || ip != nil && ip.IsUnspecified() {
			host = "127.0.0.1"
		}
		client := http.Client{Timeout: 10 * time.Second}
		resp, err := client.Get("http://" + net.JoinHostPort(host, port) + path)
		if err != nil {
			return nil, err
		}
		defer resp.Body.Close()
		return io.ReadAll(io.LimitReader(resp.Body, 64<<20))
	}
}

// journalCounts are the journal's own: how many requests in which state, and which of them are stuck, by id and
// reason.
func (c *Config) journalCounts() ([]byte, error) {
	j, err := attachConfigured(c, nil) // what is counted is not sealed
	if err != nil {
		return nil, err
	}
	defer j.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	st, err := j.Stats(ctx)
	if err != nil {
		return nil, err
	}
	stuck, err := j.Stuck(ctx, time.Now(), 100)
	if err != nil {
		return nil, err
	}
	type line struct{ ID, Shard, Service, Provider, State, Updated string }
	lines := []line{}
	for _, it := range stuck {
		lines = append(lines, line{string(it.ID), it.Shard, it.Service, it.Provider, string(it.State), it.Updated.Format(time.RFC3339)})
	}
	return json.MarshalIndent(map[string]any{"by_shard": st.ByShard, "oldest_due": st.OldestDue, "stuck": lines}, "", " ")
}

// shown are the settings whose text is in a bundle; of addresses the host is, of all other texts
// only whether they are set.
func shown() []string {
	return []string{"name", "id", "shard", "shards", "region", "sender_id", "service_id", "route_id", "log", "services", "portals"}
}

// redacted is a value as a bundle shows it.
func redacted(v reflect.Value, name string) any {
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return redacted(v.Elem(), name)
	case reflect.Struct:
		out := yaml.MapSlice{}
		for i := range v.NumField() {
			if f := v.Type().Field(i); f.IsExported() {
				key := f.Tag.Get("yaml")
				out = append(out, yaml.MapItem{Key: key, Value: redacted(v.Field(i), key)})
			}
		}
		return out
	case reflect.Slice:
		out := []any{}
		for i := range v.Len() {
			out = append(out, redacted(v.Index(i), name))
		}
		return out
	case reflect.Map:
		out := map[string]any{}
		for _, k := range v.MapKeys() {
			out[k.String()] = redacted(v.MapIndex(k), name)
		}
		return out
	case reflect.String:
		return redactedText(v.String(), name)
	case reflect.Bool, reflect.Int, reflect.Int64, reflect.Uint64, reflect.Float64:
		if d, ok := v.Interface().(Duration); ok {
			return time.Duration(d).String()
		}
		return v.Interface()
	}
	return "(not shown)"
}

func redactedText(s, name string) string {
	if s == "" || slices.Contains(shown(), name) {
		return s
	}
	if u, err := url.Parse(s); err == nil && u.Host != "" {
		return u.Scheme + "://" + u.Host + "/…"
	}
	if host, port, err := net.SplitHostPort(s); err == nil && !strings.ContainsAny(host, "/@") {
		return net.JoinHostPort(host, port)
	}
	return "(set)"
}

// goroutines tells what the gateway is doing, without arguments of functions.
func goroutines(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	pprof.Lookup("goroutine").WriteTo(w, 1) //nolint:errcheck // the client may be gone
}
