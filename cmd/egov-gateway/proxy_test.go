package main

import (
	"io"
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// A proxy is a piece of network between two programs that can go wrong. With several targets it
// gives each new connection to the next one that answers.
type proxy struct {
	ln      net.Listener
	targets []string

	next    atomic.Uint32
	delay   atomic.Int64 // nanoseconds before each piece of data
	swallow atomic.Bool  // half-open: data goes nowhere, and nobody is told
	limit   atomic.Int64 // reset each new connection after that many bytes; 0 never
	refuse  atomic.Bool  // new connections are reset at once

	mu    sync.Mutex
	conns map[net.Conn]bool // guarded by mu
}

func newProxy(t testing.TB, address string, targets ...string) *proxy {
	t.Helper()
	ln, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{ln: ln, targets: targets, conns: map[net.Conn]bool{}}
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			go p.serve(c)
		}
	}()
	t.Cleanup(func() { ln.Close(); p.cut() })
	return p
}

func (p *proxy) address() string { return p.ln.Addr().String() }

func (p *proxy) url() string { return "http://" + p.address() }

// heal ends every fault; connections that were half-open stay dead.
func (p *proxy) heal() {
	p.delay.Store(0)
	p.swallow.Store(false)
	p.limit.Store(0)
	p.refuse.Store(false)
}

// cut resets every connection.
func (p *proxy) cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for c := range p.conns {
		reset(c)
	}
}

func reset(c net.Conn) {
	if t, ok := c.(*net.TCPConn); ok {
		t.SetLinger(0) //nolint:errcheck // then it is closed, not reset
	}
	c.Close()
}

func (p *proxy) keep(c net.Conn, open bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if open {
		p.conns[c] = true
	} else {
		delete(p.conns, c)
	}
}

func (p *proxy) dial() (net.Conn, error) {
	var err error
	for range p.targets {
		target := p.targets[int(p.next.Add(1))%len(p.targets)]
		var c net.Conn
		if c, err = net.DialTimeout("tcp", target, time.Second); err == nil {
			return c, nil
		}
	}
	return nil, err
}

func (p *proxy) serve(client net.Conn) {
	if p.refuse.Load() {
		reset(client)
		return
	}
	server, err := p.dial()
	if err != nil {
		reset(client)
		return
	}
	p.keep(client, true)
	p.keep(server, true)
	left := &atomic.Int64{}
	left.Store(p.limit.Load())
	limited := left.Load() > 0
	var dead atomic.Bool
	pump := func(to, from net.Conn) {
		buf := make([]byte, 16<<10)
		for {
			n, err := from.Read(buf)
			if p.swallow.Load() {
				dead.Store(true)
			}
			if n > 0 && !dead.Load() {
				if d := p.delay.Load(); d > 0 {
					time.Sleep(time.Duration(d))
				}
				if limited && left.Add(-int64(n)) < 0 {
					reset(client)
					reset(server)
					return
				}
				if _, err := to.Write(buf[:n]); err != nil {
					break
				}
			}
			if err != nil {
				if err != io.EOF {
					reset(to)
				}
				break
			}
		}
		if t, ok := to.(*net.TCPConn); ok && !dead.Load() {
			t.CloseWrite() //nolint:errcheck // it may be closed
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { pump(server, client) })
	wg.Go(func() { pump(client, server) })
	wg.Wait()
	p.keep(client, false)
	p.keep(server, false)
	client.Close()
	server.Close()
}

func TestProxyDoesWhatItIsTold(t *testing.T) {
	echo, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer echo.Close()
	go func() {
		for {
			c, err := echo.Accept()
			if err != nil {
				return
			}
			go io.Copy(c, c) //nolint:errcheck // ends with the connection
		}
	}()
	tests := []struct {
		name  string
		fault func(p *proxy)
		ok    bool
		slow  bool
	}{
		{"as it is", func(*proxy) {}, true, false},
		{"slow", func(p *proxy) { p.delay.Store(int64(60 * time.Millisecond)) }, true, true},
		{"half-open", func(p *proxy) { p.swallow.Store(true) }, false, true},
		{"reset after some bytes", func(p *proxy) { p.limit.Store(3) }, false, false},
		{"refused", func(p *proxy) { p.refuse.Store(true) }, false, false},
		{"healed", func(p *proxy) { p.refuse.Store(true); p.swallow.Store(true); p.limit.Store(1); p.heal() }, true, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := newProxy(t, "127.0.0.1:0", "127.0.0.1:1", echo.Addr().String())
			tt.fault(p)
			start := time.Now()
			c, err := net.Dial("tcp", p.address())
			if err != nil && !tt.ok {
				return // reset before the call was back
			}
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
			wait := time.Minute
			if !tt.ok {
				wait = 300 * time.Millisecond
			}
			c.SetDeadline(time.Now().Add(wait)) //nolint:errcheck // never fails here
			c.Write([]byte("hello"))            //nolint:errcheck // seen by the read
			buf := make([]byte, 5)
			_, err = io.ReadFull(c, buf)
			if took := time.Since(start); (err == nil) != tt.ok || tt.slow && took < 100*time.Millisecond {
				t.Errorf("%q, %v after %v", buf, err, took)
			}
			p.cut()
			if _, err := c.Read(buf); err == nil {
				t.Error("the connection outlives a cut")
			}
		})
	}
}
