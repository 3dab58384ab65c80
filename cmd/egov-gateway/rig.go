package main

import (
	"bufio"
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"egov-gateway/adapters/loadsim"
	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway/harness/replay"
)

// A rig is a gateway under load with its world, each a process of its own beside the client's:
// what one costs is not taken for what another costs.
type rig struct {
	facts   rigFacts
	world   *child
	gateway *child // nil while stopped
}

// rigFacts are what the world's process tells: where everything lies.
type rigFacts struct {
	Dir         string        `json:"dir"`
	Config      string        `json:"config"`
	Base        string        `json:"base"`
	Admin       string        `json:"admin"`
	Token       string        `json:"token"`
	Password    string        `json:"password"`
	CabinetSeed []byte        `json:"cabinet_seed"`
	Offset      time.Duration `json:"offset"` // of the rig's clock to the real one
}

// A child is a process of this program.
type child struct {
	cmd   *exec.Cmd
	stdin io.Closer
	out   *bufio.Reader
	log   *os.File
	ended chan struct{}
}

// spawn starts this program with other arguments. What it logs goes to a file, as an operator's would.
func spawn(log string, args ...string) (*child, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	c := &child{cmd: exec.Command(self, args...), ended: make(chan struct{})}
	if c.log, err = os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600); err != nil {
		return nil, err
	}
	c.cmd.Stderr = c.log
	stdin, err := c.cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	c.stdin, c.out = stdin, bufio.NewReader(out)
	if err := c.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		c.cmd.Wait() //nolint:errcheck // who cares for the code has killed it
		close(c.ended)
	}()
	return c, nil
}

// end stops the process as an operator would, or, when hard, as a power cut would.
func (c *child) end(hard bool) {
	if c == nil {
		return
	}
	sig := syscall.SIGTERM
	if hard {
		sig = syscall.SIGKILL
	}
	c.cmd.Process.Signal(sig) //nolint:errcheck // it may have ended
	select {
	case <-c.ended:
	case <-time.After(15 * time.Second):
		c.cmd.Process.Kill() //nolint:errcheck // it may have ended
		<-c.ended
	}
	c.log.Close()
}

// spent is what the process has used so far; zero where /proc is missing.
func (c *child) spent() (u spent) {
	pid := strconv.Itoa(c.cmd.Process.Pid)
	if b, err := os.ReadFile("/proc/" + pid + "/stat"); err == nil {
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 12 {
			user, _ := strconv.ParseInt(f[11], 10, 64)
			system, _ := strconv.ParseInt(f[12], 10, 64)
			u.cpu = time.Duration(user+system) * 10 * time.Millisecond // USER_HZ is 100 wherever Go runs
		}
	}
	if b, err := os.ReadFile("/proc/" + pid + "/statm"); err == nil {
		if f := strings.Fields(string(b)); len(f) > 1 {
			pages, _ := strconv.ParseInt(f[1], 10, 64)
			u.resident = pages * int64(os.Getpagesize())
		}
	}
	return u
}

// spent is a process's processor time and resident memory, in bytes.
type spent struct {
	cpu      time.Duration
	resident int64
}

// newRig starts the world; the gateway is started by start.
func (b *bench) newRig(delay time.Duration, change func(*Config)) (*rig, error) {
	dir, err := os.MkdirTemp(b.dir, "rig-")
	if err != nil {
		return nil, err
	}
	r := &rig{}
	if r.world, err = spawn(filepath.Join(dir, "world.log"), "bench-world", "--delay", delay.String(), dir); err != nil {
		return nil, err
	}
	line, err := r.world.out.ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &r.facts)
	}
	if err == nil {
		err = r.reconfigure(change)
	}
	if err != nil {
		r.close()
		return nil, fmt.Errorf("the simulated world does not start, see %s: %w", dir, err)
	}
	return r, nil
}

func (r *rig) close() {
	r.gateway.end(true)
	r.world.end(true)
	os.RemoveAll(r.facts.Dir)
}

func (r *rig) reconfigure(change func(*Config)) error {
	if change == nil {
		return nil
	}
	l := &lab{config: r.facts.Config}
	return l.reconfigure(change)
}

// start starts the gateway and returns how long it took until it was ready. An idle one only
// takes requests.
func (r *rig) start(idle bool) (time.Duration, error) {
	at := time.Now().Add(r.facts.Offset).UTC().Format(time.RFC3339Nano)
	if err := r.reconfigure(func(c *Config) { c.Clock = &ClockConfig{Replay: true, At: at} }); err != nil {
		return 0, err
	}
	command := "serve"
	if idle {
		command = "bench-door"
	}
	begin := time.Now()
	var err error
	if r.gateway, err = spawn(filepath.Join(r.facts.Dir, "gateway.log"), command, "--config", r.facts.Config); err != nil {
		return 0, err
	}
	client := &http.Client{Timeout: 5 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	for time.Since(begin) < time.Minute {
		if resp, err := client.Get(r.facts.Admin + "/readyz"); err == nil {
			io.Copy(io.Discard, resp.Body) //nolint:errcheck // only the status counts
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				return time.Since(begin), nil
			}
		}
		select {
		case <-r.gateway.ended:
			return 0, fmt.Errorf("the gateway ended; see %s", r.facts.Dir)
		case <-time.After(2 * time.Millisecond):
		}
	}
	return 0, errors.New("the gateway is not ready within a minute")
}

// stop ends the gateway; hard leaves it no time for anything.
func (r *rig) stop(hard bool) {
	r.gateway.end(hard)
	r.gateway = nil
}

func (r *rig) target() *replay.Target {
	f := r.facts
	t := &replay.Target{Name: "gateway", URL: f.Base, Token: f.Token, CabinetKey: ed25519.NewKeyFromSeed(f.CabinetSeed), Portal: "egov.kz", SenderID: "EGOV", Password: f.Password,
		Services: shepIDs()}
	t.SetClock(time.Now().Add(f.Offset))
	return t
}

// benchWorldCmd is the world of a rig.
type benchWorldCmd struct {
	Dir   string        `arg:"" type:"path"`
	Delay time.Duration `help:"How long a state system takes."`
}

// Run prints where everything lies, and serves until standard input ends or a signal comes.
func (c *benchWorldCmd) Run(out streams) error {
	l, err := newLoadLab(c.Dir, c.Delay)
	if err != nil {
		return err
	}
	defer l.Close()
	line, err := json.Marshal(rigFacts{Dir: l.dir, Config: l.config, Base: l.base, Admin: l.admin, Token: l.token, Password: l.password, CabinetSeed: l.portalKey.Seed(), Offset: l.clock.offset})
	if err != nil {
		return err
	}
	fmt.Fprintf(out.out, "%s\n", line)
	io.Copy(io.Discard, os.Stdin) //nolint:errcheck // its end is what counts
	return nil
}

// benchDoorCmd is serve without the engine: requests are taken and stay in the journal.
type benchDoorCmd struct {
	Config string `required:"" type:"path"`
}

func (c *benchDoorCmd) Run(out streams) error {
	return serve(c.Config, out, time.Now, func(s store) store { return idleStore{s} })
}

// newLoadLab is a lab whose gateway has a GOST key and whose world is package loadsim's.
func newLoadLab(dir string, delay time.Duration) (_ *lab, err error) {
	l, ln, _, err := prepareLab("gost-system-gateway", dir, newHopClock(corpusClock.Add(time.Minute)), slog.New(slog.DiscardHandler))
	if err != nil {
		return nil, err
	}
	if err := l.reconfigure(func(c *Config) {
		for i, p := range labProviders {
			c.Providers[i].BIN = l.pki.Must(p.gost() + "-head").BIN
		}
	}); err != nil {
		return nil, err
	}
	wc := l.worldConfig(nil, nil)
	wc.Providers = nil
	wc.Citizens = append(wc.Citizens, statesim.Citizen{IIN: loadsim.Model, Surname: "ТЕСТОВ", Name: "ТИМУР"})
	c := loadsim.Config{GatewayURL: l.base, Delay: delay, Now: l.clock.Now}
	if c.Outside, err = statesim.New(wc); err != nil {
		return nil, err
	}
	for _, p := range labProviders {
		token, err := os.ReadFile(filepath.Join(dir, p.id+".token"))
		if err != nil {
			return nil, err
		}
		head := l.pki.Must(p.gost() + "-head")
		c.Providers = append(c.Providers, loadsim.Provider{ID: p.id, Name: head.Organisation, BIN: head.BIN, Token: string(token), Head: l.identity(p.gost() + "-head"), Executor: l.identity(p.gost() + "-executor")})
	}
	world, err := loadsim.New(c)
	if err != nil {
		return nil, err
	}
	handler := world.Handler()
	l.serve(ln, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", l.clock.Now().UTC().Format(http.TimeFormat))
		handler.ServeHTTP(w, r)
	}))
	go world.Run(context.Background())
	return l, nil
}

// gost is the entry with GOST keys that plays the provider; the foreign one has none.
func (p labProvider) gost() string {
	return "gost-" + strings.Replace(strings.TrimSuffix(p.head, "-head"), "foreign", "zhambyl", 1)
}
