package main

import (
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway/harness/tool"
)

// A fault does one thing wrong, for a while, and makes it good again. It returns what it did.
type fault func(c *campaign, dice *rand.Rand) string

// inject makes faults of the given kinds, each kind equally often in an order of chance, until
// the time is over.
func (c *campaign) inject(kinds []string, all map[string]fault, dice *rand.Rand) {
	var bag []string
	for c.running.Load() && len(kinds) > 0 {
		if len(bag) == 0 {
			bag = append(bag, kinds...)
			dice.Shuffle(len(bag), func(i, j int) { bag[i], bag[j] = bag[j], bag[i] })
		}
		kind := bag[0]
		bag = bag[1:]
		pause(dice, c.rest/4, 2*c.rest)
		do, ok := all[kind]
		if !ok {
			c.find("test", "no fault %q", kind)
			return
		}
		what := do(c, dice)
		c.note("fault", "fault", kind, "what", what)
		if strings.HasPrefix(what, "left out") {
			continue
		}
		c.mu.Lock()
		c.faults[kind]++
		c.mu.Unlock()
	}
}

// pause rests between from and to milliseconds.
func pause(dice *rand.Rand, from, to int) time.Duration {
	d := time.Duration(from+dice.IntN(to-from)) * time.Millisecond
	time.Sleep(d)
	return d
}

// A machine is a gateway's process with its directory and its clock.
type machine struct {
	c                   *campaign
	n                   int
	config, admin, data string
	clock               string // file with the offset of its clock, in nanoseconds
	jump                time.Duration
	disk                bool // data is a small disk of its own
	cmd                 *exec.Cmd
	ended               chan struct{} // closed when the process is gone
}

// diskSize of the data directory, when it is a disk of its own.
const diskSize = "size=4g"

func (c *campaign) newMachine(n int) (*machine, string) {
	c.t.Helper()
	file, admin, door, err := c.configure(n)
	if err != nil {
		c.t.Fatal(err)
	}
	m := &machine{c: c, n: n, config: file, admin: admin, data: filepath.Join(c.l.dir, fmt.Sprintf("data-%d", n)), clock: filepath.Join(c.l.dir, fmt.Sprintf("clock-%d", n))}
	m.disk = c.ownDisk(m.data)
	c.t.Cleanup(m.end)
	return m, door
}

// ownDisk makes a directory that is a disk of its own, where the test may mount one.
func (c *campaign) ownDisk(dir string) bool {
	c.t.Helper()
	if err := os.Mkdir(dir, 0o700); err != nil {
		c.t.Fatal(err)
	}
	if os.Getuid() != 0 {
		return false
	}
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, diskSize); err != nil {
		c.t.Fatalf("mount a disk: %v", err)
	}
	c.t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			c.t.Error(err)
		}
	})
	return true
}

// fill leaves no more room on a disk than some bytes; it returns what makes room again.
func (c *campaign) fill(dir string, dice *rand.Rand) (free func(), err error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(dir, &st); err != nil {
		return nil, err
	}
	used := (int64(st.Blocks) - int64(st.Bfree)) * int64(st.Bsize)
	if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, fmt.Sprintf("size=%d", used+int64(dice.IntN(1<<18)))); err != nil {
		return nil, err // it grew meanwhile
	}
	return func() {
		if err := syscall.Mount("tmpfs", dir, "tmpfs", syscall.MS_REMOUNT, diskSize); err != nil {
			c.find("test", "make room on the disk: %v", err)
		}
	}, nil
}

// hooks are what the test binary, run as a gateway, does that the real one never does.
type hooks struct {
	Clock  string `json:"clock"`  // file with the offset of the clock
	Broken string `json:"broken"` // what the journal does wrong
	Data   string `json:"data"`   // where the journal lies, for what reaches past its contract
	Redis  string `json:"redis"`  // its address, "" for SQLite
}

// start starts the process and waits until it can do its job.
func (m *machine) start() error {
	exe, err := os.Executable()
	if err != nil {
		return err
	}
	m.setClock()
	own := hooks{Clock: m.clock, Broken: m.c.broken, Data: m.data}
	if m.c.redis != nil {
		own.Redis = m.c.redis.address
	}
	h, err := json.Marshal(own)
	if err != nil {
		return err
	}
	logs, err := os.OpenFile(filepath.Join(m.c.l.dir, fmt.Sprintf("gateway-%d.log", m.n)), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer logs.Close()
	cmd := exec.Command(exe, "serve", "--config", m.config)
	cmd.Env = append(os.Environ(), runAsGateway+"=1", crashHooks+"="+string(h))
	cmd.Stderr = logs
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	m.cmd, m.ended = cmd, ended
	go func() { cmd.Wait(); close(ended) }() //nolint:errcheck // how it ended is asked for elsewhere
	client := &http.Client{Timeout: time.Second}
	defer client.CloseIdleConnections()
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		select {
		case <-ended:
			return fmt.Errorf("gateway %d ended at its start: %s", m.n, m.tail())
		default:
		}
		resp, err := client.Get(m.admin + "/healthz")
		if err != nil {
			continue
		}
		resp.Body.Close()
		if resp.StatusCode == http.StatusOK {
			return nil
		}
	}
	return fmt.Errorf("gateway %d does not start: %s", m.n, m.tail())
}

func (m *machine) tail() string {
	b, _ := os.ReadFile(filepath.Join(m.c.l.dir, fmt.Sprintf("gateway-%d.log", m.n)))
	return string(b[max(0, len(b)-600):])
}

// again starts the process after a fault, as often as a supervisor does: a gateway that cannot
// reach Redis says so and ends. That it does not start at all is a finding.
func (m *machine) again() {
	var err error
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(100 * time.Millisecond) {
		if err = m.start(); err == nil {
			return
		}
		m.end()
	}
	m.c.find("start", "%v", err)
}

func (m *machine) signal(s syscall.Signal) {
	m.cmd.Process.Signal(s) //nolint:errcheck // it may be gone
}

// kill takes the process away at once.
func (m *machine) kill() {
	m.signal(syscall.SIGKILL)
	<-m.ended
}

// end is kill for whatever state the process is in.
func (m *machine) end() {
	if m.cmd != nil {
		m.kill()
	}
}

func (m *machine) setClock() {
	offset := time.Until(m.c.l.clock.Now()) + m.jump
	tmp := m.clock + ".new"
	if err := os.WriteFile(tmp, []byte(strconv.FormatInt(int64(offset), 10)), 0o600); err == nil {
		err = os.Rename(tmp, m.clock)
		if err != nil {
			m.c.find("test", "%v", err)
		}
	}
}

func (c *campaign) setClocks() {
	for _, m := range c.machines {
		m.setClock()
	}
}

func (c *campaign) any(dice *rand.Rand) *machine { return c.machines[dice.IntN(len(c.machines))] }

// healWorld makes everything outside work again.
func (c *campaign) healWorld() {
	c.world.ClearFaults()
	if err := c.world.SetFaults(statesim.TargetProviders, c.always()...); err != nil {
		c.find("test", "%v", err)
	}
}

// heal ends every fault there may be.
func (c *campaign) heal() {
	c.healWorld()
	c.tap.lose.Store(0)
	c.tap.late.Store(0)
	for _, p := range c.net {
		p.heal()
		p.cut()
	}
	for _, m := range c.machines {
		m.jump = 0
		m.setClock()
	}
}

// A redisServer is a redis-server of one test alone, with the settings a journal needs.
type redisServer struct {
	address string
	dir     string
	disk    bool // dir is a disk of its own
	args    []string
	cmd     *exec.Cmd
	ended   chan struct{}
}

func newRedisServer(t testing.TB, dir, appendfsync string) *redisServer {
	t.Helper()
	tool.Path(t, "redis-server", "redis-server")
	address, err := freeAddress()
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(address, ":")
	r := &redisServer{address: address, dir: dir, args: []string{"--bind", "127.0.0.1", "--port", port, "--dir", dir, "--save", "", "--appendonly", "yes", "--appendfsync", appendfsync,
		"--no-appendfsync-on-rewrite", "no", "--maxmemory-policy", "noeviction"}}
	t.Cleanup(r.kill)
	if err := r.start(); err != nil {
		t.Fatal(err)
	}
	return r
}

// start starts the server and waits until it has loaded what it has.
func (r *redisServer) start() error {
	cmd := exec.Command("redis-server", r.args...)
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	r.cmd, r.ended = cmd, ended
	go func() { cmd.Wait(); close(ended) }() //nolint:errcheck // how it ended does not matter
	for deadline := time.Now().Add(2 * time.Minute); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		c, err := net.DialTimeout("tcp", r.address, time.Second)
		if err != nil {
			continue
		}
		c.SetDeadline(time.Now().Add(time.Second)) //nolint:errcheck // seen by the read
		io.WriteString(c, "PING\r\n")              //nolint:errcheck // seen by the read
		answer := make([]byte, 5)
		_, err = io.ReadFull(c, answer)
		c.Close()
		if err == nil && string(answer) == "+PONG" {
			return nil
		}
	}
	return fmt.Errorf("redis-server does not answer")
}

func (r *redisServer) kill() {
	if r.cmd != nil {
		r.cmd.Process.Kill() //nolint:errcheck // it may be gone
		<-r.ended
	}
}

// machineFaults are those of gateways, their disks and clocks.
var machineFaults = map[string]fault{
	"kill": func(c *campaign, dice *rand.Rand) string {
		m := c.any(dice)
		m.kill()
		d := pause(dice, 0+1, 300)
		m.again()
		return fmt.Sprintf("gateway %d away for %v", m.n, d)
	},
	"terminate": func(c *campaign, dice *rand.Rand) string {
		m := c.any(dice)
		start := time.Now()
		m.signal(syscall.SIGTERM)
		select {
		case <-m.ended:
		case <-time.After(2 * time.Minute):
			c.find("start", "gateway %d does not end at SIGTERM", m.n)
			m.kill()
		}
		took := time.Since(start)
		m.again()
		return fmt.Sprintf("gateway %d ended in %v", m.n, took.Round(time.Millisecond))
	},
	"pause": func(c *campaign, dice *rand.Rand) string {
		m := c.any(dice)
		m.signal(syscall.SIGSTOP)
		d := pause(dice, int(c.lease/time.Millisecond)+100, int(c.lease/time.Millisecond)+1500)
		m.signal(syscall.SIGCONT)
		return fmt.Sprintf("gateway %d stood still for %v", m.n, d)
	},
	"torn-write": func(c *campaign, dice *rand.Rand) string {
		m := c.any(dice)
		m.kill()
		what := m.tear(dice)
		m.again()
		return what
	},
	"disk-full": func(c *campaign, dice *rand.Rand) string {
		m := c.any(dice)
		if !m.disk {
			return "left out"
		}
		free, err := c.fill(m.data, dice)
		if err != nil {
			return "left out: " + err.Error()
		}
		d := pause(dice, 200, 1200)
		killed := dice.IntN(3) == 0
		if killed {
			m.kill()
		}
		free()
		if killed {
			m.again()
		}
		return fmt.Sprintf("gateway %d without room for %v, killed %v", m.n, d, killed)
	},
	"clock-jump": func(c *campaign, dice *rand.Rand) string {
		m := c.any(dice)
		m.jump = time.Hour
		if dice.IntN(2) == 0 {
			m.jump = -time.Hour
		}
		was := m.jump
		m.setClock()
		d := pause(dice, 300, 1500)
		m.jump = 0
		if c.redis != nil && was > 0 {
			// In Redis the work that was put off under the wrong clock sleeps until its hour comes.
			c.l.clock.HopTo(c.l.clock.Now().Add(was))
		}
		c.setClocks()
		return fmt.Sprintf("gateway %d by %v for %v", m.n, was, d)
	},
}

// redisFaults are those of the machine where Redis runs.
var redisFaults = map[string]fault{
	"redis-kill": func(c *campaign, dice *rand.Rand) string {
		c.redis.kill()
		d := pause(dice, 1, 500)
		if err := c.redis.start(); err != nil {
			c.find("start", "%v", err)
		}
		return fmt.Sprintf("away for %v", d)
	},
	// Redis ends by itself when it cannot write its file any more.
	"redis-disk-full": func(c *campaign, dice *rand.Rand) string {
		if !c.redis.disk {
			return "left out"
		}
		free, err := c.fill(c.redis.dir, dice)
		if err != nil {
			return "left out: " + err.Error()
		}
		d := pause(dice, 200, 1200)
		free()
		c.redis.kill()
		if err := c.redis.start(); err != nil {
			c.find("start", "%v", err)
		}
		return fmt.Sprintf("without room for %v", d)
	},
	"redis-pause": func(c *campaign, dice *rand.Rand) string {
		c.redis.cmd.Process.Signal(syscall.SIGSTOP) //nolint:errcheck // seen by what follows
		d := pause(dice, 300, 2000)
		c.redis.cmd.Process.Signal(syscall.SIGCONT) //nolint:errcheck // seen by what follows
		return fmt.Sprintf("for %v", d)
	},
}

// tear leaves at the ends of the journal's files what a write leaves that did not come to its end.
func (m *machine) tear(dice *rand.Rand) string {
	last := ""
	files, _ := filepath.Glob(filepath.Join(m.data, "bodies", "*.seg"))
	for _, f := range files {
		last = max(last, f)
	}
	var what []string
	for _, file := range []string{filepath.Join(m.data, "journal.db-wal"), last} {
		garbage := make([]byte, 1+dice.IntN(9000))
		for i := range garbage {
			garbage[i] = byte(dice.Uint32())
		}
		if dice.IntN(2) == 0 { // a frame that was begun: its first bytes are right
			if b, err := os.ReadFile(file); err == nil && len(b) > 5000 {
				copy(garbage, b[32:32+min(len(garbage), 4000)])
			}
		}
		f, err := os.OpenFile(file, os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			continue // there may be none yet
		}
		f.Write(garbage) //nolint:errcheck // more or less of it is as good
		f.Close()
		what = append(what, fmt.Sprintf("%d bytes at the end of %s", len(garbage), filepath.Base(file)))
	}
	return strings.Join(what, ", ")
}

// world makes a fault that a door of the world plays by itself.
func world(targets []string, kind statesim.FaultKind) fault {
	return func(c *campaign, dice *rand.Rand) string {
		target := targets[dice.IntN(len(targets))]
		if err := c.world.SetFaults(target, statesim.Fault{Kind: kind}); err != nil {
			c.find("test", "%v", err)
		}
		d := pause(dice, 200, 1200)
		if err := c.world.SetFaults(target); err != nil {
			c.find("test", "%v", err)
		}
		return fmt.Sprintf("%s for %v", target, d)
	}
}

// network makes a fault of a piece of network.
func network(do func(p *proxy, dice *rand.Rand)) fault {
	return func(c *campaign, dice *rand.Rand) string {
		names := sortedKeys(c.net)
		name := names[dice.IntN(len(names))]
		do(c.net[name], dice)
		d := pause(dice, 200, 1200)
		c.net[name].heal()
		return fmt.Sprintf("%s for %v", name, d)
	}
}

var (
	atProviders = []string{"taraz", "petropavl"}
	atSources   = []string{"gbdfl", "gbdrn", "socialpayments", "income", "alimony", "employment"}
)

// worldFaults are those of everything outside and of the network on the way there.
var worldFaults = map[string]fault{
	"provider-hangs":    world(atProviders, statesim.Hang),
	"provider-5xx":      world(atProviders, statesim.Unavailable),
	"provider-resets":   world(atProviders, statesim.Reset),
	"source-hangs":      world(atSources, statesim.Hang),
	"source-5xx":        world(atSources, statesim.Unavailable),
	"source-resets":     world(atSources, statesim.Reset),
	"source-faults":     world(atSources, statesim.SOAPFault),
	"source-garbage":    world(atSources, statesim.Garbage),
	"responder-away":    world([]string{statesim.TargetOCSP}, statesim.Unavailable),
	"portal-away":       world([]string{statesim.TargetPortal}, statesim.Unavailable),
	"network-cut":       network(func(p *proxy, _ *rand.Rand) { p.cut() }),
	"network-slow":      network(func(p *proxy, dice *rand.Rand) { p.delay.Store(int64(20+dice.IntN(150)) * 1e6) }),
	"network-half-open": network(func(p *proxy, _ *rand.Rand) { p.swallow.Store(true) }),
	"network-resets":    network(func(p *proxy, dice *rand.Rand) { p.limit.Store(int64(1 + dice.IntN(20000))); p.cut() }),
	"network-refuses":   network(func(p *proxy, _ *rand.Rand) { p.refuse.Store(true); p.cut() }),
	"answer-lost": func(c *campaign, dice *rand.Rand) string {
		n := 1 + dice.IntN(20)
		c.tap.lose.Store(int64(n))
		pause(dice, 200, 1200)
		c.tap.lose.Store(0)
		return fmt.Sprintf("up to %d answers after the effect", n)
	},
	"answer-late": func(c *campaign, dice *rand.Rand) string {
		c.tap.late.Store(int64(1300 * time.Millisecond)) // beyond the gateway's timeout
		d := pause(dice, 200, 1200)
		c.tap.late.Store(0)
		return fmt.Sprintf("for %v", d)
	},
}
