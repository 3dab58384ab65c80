package httpserver

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"time"
)

const (
	// proxyTime is how long a header of the PROXY protocol may take: a segment that was lost comes again
	// within three seconds (doc/proxy-protocol.txt, §2).
	proxyTime = 3 * time.Second
	// maxPending bounds the connections whose header is still to come.
	maxPending = 256
	// tellAgain is how long the log is silent about broken headers after it told of one.
	tellAgain = 10 * time.Second
)

// A proxiedConn is one whose client a balancer announced.
type proxiedConn struct {
	net.Conn
	client net.Addr
}

// RemoteAddr is the client's address.
func (c *proxiedConn) RemoteAddr() net.Addr { return c.client }

// A reception takes connections of balancers, each with its header, and of everybody else, without. It
// reads headers beside the listener: one that does not come holds up nobody.
type reception struct {
	balancers []netip.Prefix
	arrivals  chan arrival
	pending   chan struct{}
	closed    chan struct{}
	close     sync.Once
}

// An arrival is a connection that was let in, or the listener's error.
type arrival struct {
	conn net.Conn
	err  error
}

func newReception(balancers []netip.Prefix) *reception {
	return &reception{balancers: balancers, arrivals: make(chan arrival), pending: make(chan struct{}, maxPending), closed: make(chan struct{})}
}

// receive runs until the listener is closed.
func (l *boundedListener) receive() {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			// The server waits before it asks again, unless this is the end.
			if !l.reception.deliver(arrival{err: err}) || errors.Is(err, net.ErrClosed) {
				return
			}
			continue
		}
		peer, _ := hostOf(conn.RemoteAddr().String())
		if !within(peer, l.reception.balancers) {
			l.receiveAdmitted(l.admit(conn, peer, false), conn)
			continue
		}
		select {
		case l.reception.pending <- struct{}{}:
			go func() {
				defer func() { <-l.reception.pending }()
				l.receiveProxied(conn, peer)
			}()
		default:
			l.noteHeader(peer, errors.New("too many headers are still to come"))
			drop(conn)
		}
	}
}

// receiveProxied lets a balancer's connection in as its client's.
func (l *boundedListener) receiveProxied(conn net.Conn, balancer netip.Addr) {
	conn.SetReadDeadline(time.Now().Add(proxyTime)) //nolint:errcheck // the read tells
	client, err := readProxyHeader(conn)
	if err == nil {
		err = conn.SetReadDeadline(time.Time{})
	}
	if err != nil {
		if !errors.Is(err, io.EOF) { // a balancer looks whether somebody listens
			l.noteHeader(balancer, err)
		}
		drop(conn)
		return
	}
	if !client.IsValid() {
		l.receiveAdmitted(l.admit(conn, balancer, true), conn)
		return
	}
	announced := &proxiedConn{conn, net.TCPAddrFromAddrPort(client)}
	l.receiveAdmitted(l.admit(announced, client.Addr(), false), conn)
}

// receiveAdmitted delivers what was let in, and closes what was not.
func (l *boundedListener) receiveAdmitted(c *boundedConn, conn net.Conn) {
	switch {
	case c == nil:
		drop(conn)
	case !l.reception.deliver(arrival{conn: c}):
		c.Close() //nolint:errcheck // the server has ended
	}
}

// deliver reports whether somebody took it.
func (r *reception) deliver(a arrival) bool {
	select {
	case r.arrivals <- a:
		return true
	case <-r.closed:
		return false
	}
}

// noteHeader counts a connection of a balancer that brought no header as it must be, and tells of it now
// and then.
func (l *boundedListener) noteHeader(balancer netip.Addr, err error) {
	l.mu.Lock()
	l.report.RefusedHeader++
	tell := time.Since(l.told) >= tellAgain
	if tell {
		l.told = time.Now()
	}
	l.mu.Unlock()
	if tell {
		l.log.Warn("a balancer's connection was closed: it must begin with a header of the PROXY protocol", "balancer", balancer.String(), "error", err)
	}
}
