package redisevidence_test

import (
	"context"
	"fmt"
	"io"
	"net"
	"os/exec"
	"sync/atomic"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/revocation/redisevidence"
)

// A server is a redis-server of this test alone, behind a wire that can be slow or cut.
type server struct {
	t       testing.TB
	process *exec.Cmd
	address string // of the server itself
	wire    net.Listener
	delay   atomic.Int64 // nanoseconds before each piece of an answer
}

func newServer(t testing.TB) *server {
	t.Helper()
	tool.Path(t, "redis-server", "redis-server")
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	port := l.Addr().(*net.TCPAddr).Port
	l.Close()
	s := &server{t: t, address: fmt.Sprintf("127.0.0.1:%d", port)}
	s.process = exec.Command("redis-server", "--bind", "127.0.0.1", "--port", fmt.Sprint(port), "--save", "", "--appendonly", "no", "--dir", t.TempDir())
	if err := s.process.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.stop)
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		c, err := net.Dial("tcp", s.address)
		if err == nil {
			c.Close()
			break
		}
		if time.Now().After(end) {
			t.Fatal("redis-server does not answer")
		}
	}
	if s.wire, err = net.Listen("tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.wire.Close() })
	go s.serve()
	return s
}

func (s *server) stop() {
	if s.process != nil {
		s.process.Process.Kill()
		s.process.Wait()
		s.process = nil
	}
}

func (s *server) serve() {
	for {
		in, err := s.wire.Accept()
		if err != nil {
			return
		}
		out, err := net.Dial("tcp", s.address)
		if err != nil {
			in.Close()
			continue
		}
		go func() { io.Copy(out, in); out.Close() }()
		go func() {
			defer in.Close()
			buf := make([]byte, 64<<10)
			for {
				n, err := out.Read(buf)
				time.Sleep(time.Duration(s.delay.Load()))
				if _, werr := in.Write(buf[:n]); err != nil || werr != nil {
					return
				}
			}
		}()
	}
}

// store opens a client of its own, as every gateway has.
func (s *server) store() (*redisevidence.Store, *redis.Client) {
	s.t.Helper()
	c, err := redisevidence.Open("redis://" + s.wire.Addr().String())
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { c.Close() })
	st, err := redisevidence.New(redisevidence.Config{Client: c})
	if err != nil {
		s.t.Fatal(err)
	}
	return st, c
}

func TestAStoreKeepsOctetsForAWhile(t *testing.T) {
	s, c := newServer(t).store()
	ctx := context.Background()
	if raw, err := s.Get(ctx, "k"); raw != nil || err != nil {
		t.Errorf("nothing was kept: %q, %v", raw, err)
	}
	want := string([]byte{0, 1, 0xff, '\r', '\n'})
	if err := s.Put(ctx, "k", []byte(want), 200*time.Millisecond); err != nil {
		t.Fatal(err)
	}
	if raw, err := s.Get(ctx, "k"); string(raw) != want || err != nil {
		t.Errorf("%q, %v", raw, err)
	}
	if keys := c.Keys(ctx, "*").Val(); len(keys) != 1 || keys[0] != "egov-gateway:k" {
		t.Errorf("keys %q", keys)
	}
	if s.Put(ctx, "k", nil, 0) == nil {
		t.Error("evidence without an end was kept")
	}
	for end := time.Now().Add(2 * time.Minute); ; time.Sleep(10 * time.Millisecond) {
		if raw, _ := s.Get(ctx, "k"); raw == nil {
			break
		}
		if time.Now().After(end) {
			t.Fatal("it is still there")
		}
	}
	if mine, err := s.Lease(ctx, "l", time.Minute); !mine || err != nil {
		t.Errorf("the first: %t, %v", mine, err)
	}
	if mine, err := s.Lease(ctx, "l", time.Minute); mine || err != nil {
		t.Errorf("the second: %t, %v", mine, err)
	}
	if life := c.PTTL(ctx, "egov-gateway:l").Val(); life <= 0 || life > time.Minute {
		t.Errorf("a lease of %v", life)
	}
}

func TestACallEndsWithItsContext(t *testing.T) {
	server := newServer(t)
	s, _ := server.store()
	server.delay.Store(int64(30 * time.Second))
	ctx, cancel := context.WithTimeout(context.Background(), 50*time.Millisecond)
	defer cancel()
	start := time.Now()
	if _, err := s.Get(ctx, "k"); err == nil {
		t.Error("no error")
	}
	if took := time.Since(start); took > 20*time.Second {
		t.Errorf("took %v", took)
	}
}

func TestAConfigurationThatCannotWorkIsRefused(t *testing.T) {
	if _, err := redisevidence.New(redisevidence.Config{}); err == nil {
		t.Error("no client")
	}
	if _, err := redisevidence.Open("http://127.0.0.1"); err == nil {
		t.Error("not a Redis address")
	}
}
