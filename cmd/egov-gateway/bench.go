package main

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	testpki "egov-gateway/certs-testdata"
)

type benchCmd struct {
	Quick   bool     `help:"A tenth of the work: to see that everything runs, not to quote."`
	Runs    int      `default:"3" placeholder:"N" help:"Runs of each measurement; the median is printed."`
	Only    []string `placeholder:"PART" help:"Only these parts: verification, decision, journal, intake, overload, replay, journeys, start, memory."`
	JSON    string   `name:"json" type:"path" placeholder:"FILE" help:"Write the result as JSON."`
	Compare string   `type:"path" placeholder:"FILE" help:"Compare with an earlier result (JSON)."`
	Dir     string   `type:"path" help:"Where the measured journals lie; the disk matters. Default: a temporary folder."`
}

// A figure is one line of the table.
type figure struct {
	Part  string  `json:"part"`
	Name  string  `json:"name"`
	Value float64 `json:"value"` // median of the runs
	Unit  string  `json:"unit"`
	Least float64 `json:"least"`
	Most  float64 `json:"most"`
	Runs  int     `json:"runs"`
	// Target is the promised value, in the same unit; 0 is none.
	Target float64 `json:"target,omitempty"`
	// Higher tells that more is better.
	Higher bool `json:"higher_is_better"`
}

func (f figure) met() bool { return f.Target == 0 || f.Higher == (f.Value >= f.Target) }

// machineFacts say where it was measured.
type machineFacts struct {
	CPU      string `json:"cpu"`
	Cores    int    `json:"cores"`
	MemoryMB int64  `json:"memory_mb"`
	Kernel   string `json:"kernel"`
	Go       string `json:"go"`
	Revision string `json:"revision,omitempty"`
	XMLSec   string `json:"xmlsec1,omitempty"`
	Load     string `json:"load_before"` // of the machine: others may be at work
}

// A benchResult is what is stored and compared.
type benchResult struct {
	Version int          `json:"version"`
	At      time.Time    `json:"at"`
	Machine machineFacts `json:"machine"`
	Quick   bool         `json:"quick,omitempty"`
	Figures []figure     `json:"figures"`
}

// A bench is a measuring under way.
type bench struct {
	quick bool
	dir   string
	pki   *testpki.PKI
	runs  map[string][]float64
	order []figure
	part  string
}

// n is the amount of work, a tenth of it when it shall be quick.
func (b *bench) n(full int) int {
	if b.quick {
		return max(full/10, 1)
	}
	return full
}

// add records one run's value.
func (b *bench) add(name string, value float64, unit string, target float64, higher bool) {
	key := b.part + "\x00" + name
	if b.runs[key] == nil {
		b.order = append(b.order, figure{Part: b.part, Name: name, Unit: unit, Target: target, Higher: higher})
	}
	b.runs[key] = append(b.runs[key], value)
}

func (b *bench) figures() []figure {
	all := slices.Clone(b.order)
	for i := range all {
		f := &all[i]
		v := slices.Sorted(slices.Values(b.runs[f.Part+"\x00"+f.Name]))
		f.Value, f.Least, f.Most, f.Runs = v[len(v)/2], v[0], v[len(v)-1], len(v)
	}
	return all
}

// A benchPart measures one side; one that takes minutes does so once.
type benchPart struct {
	name string
	run  func(*bench) error
	once bool
}

var benchParts = []benchPart{{name: "verification", run: benchVerification}, {name: "decision", run: benchDecision}, {name: "journal", run: benchJournal}, {name: "intake", run: benchIntake},
	{name: "overload", run: benchOverload}, {name: "journeys", run: benchJourneys}, {name: "start", run: benchStart}, {name: "replay", run: benchReplay, once: true}, {name: "memory", run: benchMemory, once: true}}

// Run measures part by part and prints the table.
func (c *benchCmd) Run(out streams) (err error) {
	for _, name := range c.Only {
		if !slices.ContainsFunc(benchParts, func(p benchPart) bool { return p.name == name }) {
			return usage(out, "--only: there is no part %s", name)
		}
	}
	var before *benchResult
	if c.Compare != "" {
		raw, err := os.ReadFile(c.Compare)
		if err != nil {
			return err
		}
		before = new(benchResult)
		if err := json.Unmarshal(raw, before); err != nil {
			return fmt.Errorf("%s: %w", c.Compare, err)
		}
	}
	b := &bench{quick: c.Quick, dir: c.Dir, runs: map[string][]float64{}}
	if b.pki, err = testpki.Load(); err != nil {
		return err
	}
	if b.dir == "" {
		if b.dir, err = os.MkdirTemp("", "egov-gateway-bench-"); err != nil {
			return err
		}
		defer os.RemoveAll(b.dir)
	}
	result := benchResult{Version: 1, At: time.Now().UTC().Truncate(time.Second), Machine: thisMachine(), Quick: c.Quick}
	for run := range max(c.Runs, 1) {
		for _, p := range benchParts {
			if len(c.Only) > 0 && !slices.Contains(c.Only, p.name) || p.once && run > 0 {
				continue
			}
			fmt.Fprintf(out.err, "measuring %s…\n", p.name)
			b.part = p.name
			debug.FreeOSMemory()
			if err := p.run(b); err != nil {
				return fmt.Errorf("%s: %w", p.name, err)
			}
		}
	}
	result.Figures = b.figures()
	if err := result.print(out.out, before); err != nil {
		return err
	}
	if c.JSON == "" {
		return nil
	}
	raw, err := json.MarshalIndent(result, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(c.JSON, append(raw, '\n'), 0o644)
}

// print writes the table of the README.
func (r *benchResult) print(out io.Writer, before *benchResult) error {
	m := r.Machine
	fmt.Fprintf(out, "%s, %d cores, %s, %d MB, Linux %s, %s", r.At.Format(time.DateOnly), m.Cores, m.CPU, m.MemoryMB, m.Kernel, m.Go)
	if m.XMLSec != "" {
		fmt.Fprintf(out, ", %s", m.XMLSec)
	}
	fmt.Fprintf(out, "; load before: %s.\n", m.Load)
	if r.Quick {
		fmt.Fprintln(out, "Quick: not to be quoted.")
	}
	fmt.Fprintln(out, "Median of the runs. Gateway, client and the simulated world around it are processes that share the machine.")
	fmt.Fprintln(out)
	w := tabwriter.NewWriter(out, 0, 0, 1, ' ', 0)
	head := "| part\t| what\t| median\t| least … most\t| runs\t| target\t|"
	rule := "|---\t|---\t|---\t|---\t|---\t|---\t|"
	if before != nil {
		head, rule = head+" before\t| change\t|", rule+"---\t|---\t|"
	}
	fmt.Fprintf(w, "%s\n%s\n", head, rule)
	for _, f := range r.Figures {
		target := ""
		if f.Target > 0 {
			target = map[bool]string{true: "≥ ", false: "≤ "}[f.Higher] + short(f.Target) + map[bool]string{true: ", met", false: ", missed"}[f.met()]
		}
		fmt.Fprintf(w, "| %s\t| %s\t| %s %s\t| %s … %s\t| %d\t| %s\t|", f.Part, f.Name, short(f.Value), f.Unit, short(f.Least), short(f.Most), f.Runs, target)
		if before != nil {
			i := slices.IndexFunc(before.Figures, func(o figure) bool { return o.Part == f.Part && o.Name == f.Name && o.Unit == f.Unit })
			if i < 0 {
				fmt.Fprint(w, " new\t|\t|")
			} else {
				o := before.Figures[i]
				word := "within the runs"
				if o.Value > 0 && (f.Least > o.Most || f.Most < o.Least) {
					word = map[bool]string{true: "better", false: "worse"}[(f.Value > o.Value) == f.Higher]
				}
				fmt.Fprintf(w, " %s\t| %+.0f %%, %s\t|", short(o.Value), 100*(f.Value/o.Value-1), word)
			}
		}
		fmt.Fprintln(w)
	}
	return w.Flush()
}

// short writes three digits that count.
func short(v float64) string {
	switch a := math.Abs(v); {
	case a >= 100 || a == 0:
		return fmt.Sprintf("%.0f", v)
	case a >= 10:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2f", v)
}

func thisMachine() machineFacts {
	m := machineFacts{CPU: runtime.GOARCH, Cores: runtime.NumCPU(), Go: runtime.Version()}
	field := func(file, name string) string {
		f, err := os.Open(file)
		if err != nil {
			return ""
		}
		defer f.Close()
		for s := bufio.NewScanner(f); s.Scan(); {
			if k, v, ok := strings.Cut(s.Text(), ":"); ok && strings.TrimSpace(k) == name {
				return strings.TrimSpace(v)
			}
		}
		return ""
	}
	m.CPU = cmp.Or(field("/proc/cpuinfo", "model name"), m.CPU)
	fmt.Sscanf(field("/proc/meminfo", "MemTotal"), "%d", &m.MemoryMB) //nolint:errcheck // 0 says that it is not known
	m.MemoryMB /= 1024
	if b, err := os.ReadFile("/proc/sys/kernel/osrelease"); err == nil {
		m.Kernel, _, _ = strings.Cut(strings.TrimSpace(string(b)), "-")
	}
	if b, err := os.ReadFile("/proc/loadavg"); err == nil {
		m.Load, _, _ = strings.Cut(string(b), " ")
	}
	if b, err := exec.Command("xmlsec1", "--version").Output(); err == nil {
		m.XMLSec = strings.TrimSpace(string(b))
	}
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				m.Revision = s.Value
			}
		}
	}
	return m
}

// each returns the microseconds that f takes on average over at least d, its garbage included.
func each(d time.Duration, f func() error) (float64, error) {
	if err := f(); err != nil {
		return 0, err
	}
	runtime.GC()
	n := 0
	start := time.Now()
	for ; n < 3 || time.Since(start) < d; n++ {
		if err := f(); err != nil {
			return 0, err
		}
	}
	return float64(time.Since(start).Nanoseconds()) / 1e3 / float64(n), nil
}
