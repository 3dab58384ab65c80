package redisjournal_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/redis/go-redis/v9/maintnotifications"

	"egov-gateway/gateway/harness/tool"
)

// A server is a redis-server of one test alone.
type server struct {
	t       testing.TB
	dir     string
	address string
	args    []string
	process *exec.Cmd
}

// durable are the settings that OPERATING.md asks for.
var durable = []string{"--appendonly", "yes", "--appendfsync", "always", "--no-appendfsync-on-rewrite", "no", "--maxmemory-policy", "noeviction", "--save", "", "--repl-diskless-sync-delay", "0"}

func freePort(t testing.TB) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

// newServer starts one with the durable settings; more come after them and so win.
func newServer(t testing.TB, more ...string) *server {
	t.Helper()
	tool.Path(t, "redis-server", "redis-server")
	port := freePort(t)
	s := &server{t: t, dir: t.TempDir(), address: fmt.Sprintf("127.0.0.1:%d", port)}
	s.args = append([]string{"--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--dir", s.dir, "--logfile", filepath.Join(s.dir, "log")}, durable...)
	s.args = append(s.args, more...)
	t.Cleanup(s.kill)
	s.start()
	return s
}

func (s *server) start() {
	s.t.Helper()
	s.process = exec.Command("redis-server", s.args...)
	if err := s.process.Start(); err != nil {
		s.t.Fatal(err)
	}
	c := s.client()
	defer c.Close()
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if c.Ping(context.Background()).Err() == nil {
			return
		}
		if time.Now().After(end) {
			log, _ := os.ReadFile(filepath.Join(s.dir, "log"))
			s.t.Fatalf("redis-server does not answer: %s", log)
		}
	}
}

// kill ends it as kill -9 does.
func (s *server) kill() {
	if s.process != nil {
		s.process.Process.Kill()
		s.process.Wait()
		s.process = nil
	}
}

func (s *server) url() string { return "redis://" + s.address }

// client is one for the test's own looks and orders.
func (s *server) client() *redis.Client {
	return redis.NewClient(&redis.Options{Addr: s.address, MaxRetries: -1, DialTimeout: time.Second, DisableIdentity: true,
		MaintNotificationsConfig: &maintnotifications.Config{Mode: maintnotifications.ModeDisabled}})
}

func (s *server) set(name, value string) {
	s.t.Helper()
	c := s.client()
	defer c.Close()
	if err := c.ConfigSet(context.Background(), name, value).Err(); err != nil {
		s.t.Fatal(err)
	}
}

// newCluster starts three masters that share the slots.
func newCluster(t testing.TB) []*server {
	t.Helper()
	ctx := context.Background()
	var all []*server
	for n := range 3 {
		s := newServer(t, "--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
		c := s.client()
		defer c.Close()
		if err := c.ClusterAddSlotsRange(ctx, n*5462, min(16383, n*5462+5461)).Err(); err != nil {
			t.Fatal(err)
		}
		if err := c.Do(ctx, "CLUSTER", "SET-CONFIG-EPOCH", n+1).Err(); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	for _, s := range all[1:] {
		c := s.client()
		defer c.Close()
		host, port, _ := net.SplitHostPort(all[0].address)
		if err := c.ClusterMeet(ctx, host, port).Err(); err != nil {
			t.Fatal(err)
		}
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(50 * time.Millisecond) {
		err := errors.Join(each(all, func(c *redis.Client) error {
			shards, err := c.ClusterShards(ctx).Result()
			if err == nil && len(shards) != 3 {
				err = errors.New("not all are there")
			}
			info, ierr := c.ClusterInfo(ctx).Result()
			if ierr == nil && !contains(info, "cluster_state:ok") {
				ierr = errors.New("the cluster is not up")
			}
			return errors.Join(err, ierr)
		})...)
		if err == nil {
			return all
		}
		if time.Now().After(end) {
			t.Fatal(err)
		}
	}
}

func each(all []*server, do func(*redis.Client) error) (errs []error) {
	for _, s := range all {
		c := s.client()
		errs = append(errs, do(c))
		c.Close()
	}
	return errs
}

// follow makes s a replica and waits until it is in step.
func (s *server) follow(master *server) { s.t.Helper(); s.followAt(master.address) }

func (s *server) followAt(address string) {
	s.t.Helper()
	ctx := context.Background()
	c := s.client()
	defer c.Close()
	host, port, _ := net.SplitHostPort(address)
	if err := c.ReplicaOf(ctx, host, port).Err(); err != nil {
		s.t.Fatal(err)
	}
	until(s.t, "the replica follows", func() bool {
		info, err := c.Info(ctx, "replication").Result()
		return err == nil && contains(info, "master_link_status:up")
	})
}

func (s *server) promote() {
	s.t.Helper()
	c := s.client()
	defer c.Close()
	if err := c.ReplicaOf(context.Background(), "NO", "ONE").Err(); err != nil {
		s.t.Fatal(err)
	}
}

// stall stops the process without ending it; its connections stay.
func (s *server) stall()  { s.signal(syscall.SIGSTOP) }
func (s *server) resume() { s.signal(syscall.SIGCONT) }

func (s *server) signal(sig os.Signal) {
	s.t.Helper()
	if err := s.process.Process.Signal(sig); err != nil {
		s.t.Fatal(err)
	}
}

func (s *server) keys(pattern string) []string {
	s.t.Helper()
	c := s.client()
	defer c.Close()
	keys, err := c.Keys(context.Background(), pattern).Result()
	if err != nil {
		s.t.Fatal(err)
	}
	slices.Sort(keys)
	return keys
}

func (s *server) count(pattern string) int { return len(s.keys(pattern)) }

// dump is everything in the server, to compare.
func (s *server) dump() string {
	s.t.Helper()
	c := s.client()
	defer c.Close()
	var b strings.Builder
	for _, key := range s.keys("*") {
		raw, err := c.Dump(context.Background(), key).Result()
		if err != nil {
			s.t.Fatal(err)
		}
		fmt.Fprintf(&b, "%s %x\n", key, raw)
	}
	return b.String()
}

// A proxy is an address that can be moved to another server, as a virtual address is.
type proxy struct {
	t       testing.TB
	l       net.Listener
	mu      sync.Mutex
	address string
	held    bool
	conns   []net.Conn
}

func newProxy(t testing.TB, address string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{t: t, l: l, address: address}
	t.Cleanup(func() { l.Close(); p.cut() })
	go p.serve()
	return p
}

func (p *proxy) url() string { return "redis://" + p.l.Addr().String() }

func (p *proxy) serve() {
	for {
		in, err := p.l.Accept()
		if err != nil {
			return
		}
		p.mu.Lock()
		out, err := net.Dial("tcp", p.address)
		if err != nil {
			in.Close()
			p.mu.Unlock()
			continue
		}
		p.conns = append(p.conns, in, out)
		p.mu.Unlock()
		go func() { io.Copy(in, out); in.Close() }() //nolint:errcheck // the other side sees the end
		go func() {
			defer out.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := in.Read(buf)
				p.mu.Lock()
				held := p.held
				p.mu.Unlock()
				if held {
					continue
				}
				if _, werr := out.Write(buf[:n]); err != nil || werr != nil {
					return
				}
			}
		}()
	}
}

// hold swallows what is sent to the server.
func (p *proxy) hold(held bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.held = held
}

// cut ends all connections.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range p.conns {
		c.Close()
	}
	p.conns = nil
}

// to moves the address.
func (p *proxy) to(address string) {
	p.mu.Lock()
	p.address = address
	p.mu.Unlock()
	p.cut()
}

// damage makes every later write to a SQLite file fail.
func damage(t testing.TB, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", "file:"+file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.Exec("CREATE TRIGGER broken BEFORE INSERT ON entry BEGIN SELECT RAISE(FAIL, 'the disk is full'); END"); err != nil {
		t.Fatal(err)
	}
}
