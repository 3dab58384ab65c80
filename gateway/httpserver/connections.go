package httpserver

import (
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"egov-gateway/gateway/admission"
)

// MaxConnections is the default bound of a server's connections, if the process may have twice as
// many files. An idle TLS connection takes about 33 KiB.
const MaxConnections = 4096

// MaxStreams bounds the requests at once of one HTTP/2 connection.
const MaxStreams = 32

// Buffers of what an HTTP/2 connection, and a stream of it, brought before anybody read it.
const (
	connectionBuffer = 128 << 10
	streamBuffer     = 64 << 10
)

// restTime is how long a connection must have been idle before it may make way for a new one.
const restTime = time.Second

// FileLimit is how many files, connections among them, the process may have.
func FileLimit() int {
	var l syscall.Rlimit
	if syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l) != nil || l.Cur > 1<<20 {
		return 1 << 20
	}
	return int(l.Cur)
}

// Connections bounds those of a server. What is beyond is closed at once, unless one that is idle can
// make way. The same numbers bound the requests at hand, of which an HTTP/2 connection has many.
type Connections struct {
	// Total is all of them. 0 means half of the file limit, at most [MaxConnections]: the other half is
	// for health, outgoing calls and files.
	Total int
	// PerAddress is those of one IPv4 address, or of one /64 of IPv6. 0 means a quarter of Total.
	PerAddress int
	// Known are the networks of known parties. A quarter of Total is kept for them, and PerAddress is
	// not theirs.
	Known []netip.Prefix
}

func (c Connections) withDefaults() Connections {
	if c.Total <= 0 {
		c.Total = max(1, min(MaxConnections, FileLimit()/2))
	}
	if c.PerAddress <= 0 {
		c.PerAddress = max(1, c.Total/4)
	}
	return c
}

// strangers is how many connections others than the known may have.
func (c Connections) strangers() int {
	if len(c.Known) == 0 {
		return c.Total
	}
	return c.Total - c.Total/4
}

// A ConnectionReport says how full a server is.
type ConnectionReport struct {
	Open, Limit int
	// Refused are the connections that were closed at once, by the bound that they met; Evicted are
	// idle ones that made way.
	RefusedTotal, RefusedAddress, Evicted int64
	// RefusedHeader are connections of balancers without a header of the PROXY protocol as it must be.
	RefusedHeader int64
	// RefusedRequests were ended unread: as many are at hand as connections may be, in all or of the address.
	RefusedRequests int64
	// Lately says that one was refused within the last five seconds.
	Lately bool
}

// String is "ok", or what is full.
func (r ConnectionReport) String() string {
	if !r.Lately {
		return "ok"
	}
	return "connections are closed at once"
}

// A boundedListener counts connections and closes those that are too many.
type boundedListener struct {
	net.Listener
	c         Connections
	log       *slog.Logger
	reception *reception // nil without PROXY protocol

	mu        sync.Mutex // guards all below
	open      map[*boundedConn]struct{}
	strangers int
	addresses map[netip.Prefix]int
	report    ConnectionReport
	refused   time.Time
	told      time.Time // when the log told of a broken header last
}

// A boundedConn gives its place back when it is closed.
type boundedConn struct {
	net.Conn
	l      *boundedListener
	prefix netip.Prefix
	known  bool
	idle   time.Time // guarded by l.mu: since when; zero while it is at work
	once   sync.Once
}

// bound puts bounds before a listener. Balancers, if there are any, announce their clients by PROXY protocol.
func bound(ln net.Listener, c Connections, balancers []netip.Prefix, log *slog.Logger) *boundedListener {
	c = c.withDefaults()
	l := &boundedListener{Listener: ln, c: c, log: log, open: map[*boundedConn]struct{}{}, addresses: map[netip.Prefix]int{},
		report: ConnectionReport{Limit: c.Total}}
	if len(balancers) > 0 {
		l.reception = newReception(balancers)
		go l.receive()
	}
	return l
}

// Close implements [net.Listener].
func (l *boundedListener) Close() error {
	if l.reception != nil {
		l.reception.close.Do(func() { close(l.reception.closed) })
	}
	return l.Listener.Close()
}

// Accept implements [net.Listener].
func (l *boundedListener) Accept() (net.Conn, error) {
	if l.reception != nil {
		select {
		case a := <-l.reception.arrivals:
			return a.conn, a.err
		case <-l.reception.closed:
			return nil, net.ErrClosed
		}
	}
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		peer, _ := hostOf(conn.RemoteAddr().String())
		if c := l.admit(conn, peer, false); c != nil {
			return c, nil
		}
		drop(conn)
	}
}

// drop closes a connection that was not let in, without a word.
func drop(conn net.Conn) {
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0) //nolint:errcheck // it is closed anyway
	}
	conn.Close() //nolint:errcheck // nobody was let in
}

// admit counts a connection from ip; known ones are not bounded by address. It returns nil for one that is
// too many.
func (l *boundedListener) admit(conn net.Conn, ip netip.Addr, known bool) *boundedConn {
	c := &boundedConn{Conn: conn, l: l, prefix: admission.PrefixOf(ip), known: known || within(ip, l.c.Known)}
	l.mu.Lock()
	defer l.mu.Unlock()
	if !c.known && l.addresses[c.prefix] >= l.c.PerAddress && !l.evict(func(o *boundedConn) bool { return o.prefix == c.prefix }) {
		l.report.RefusedAddress++
		l.refused = time.Now()
		return nil
	}
	full := len(l.open) >= l.c.Total || !c.known && l.strangers >= l.c.strangers()
	if full && !l.evict(func(o *boundedConn) bool { return !o.known }) {
		l.report.RefusedTotal++
		l.refused = time.Now()
		return nil
	}
	l.open[c] = struct{}{}
	l.addresses[c.prefix]++
	if !c.known {
		l.strangers++
	}
	return c
}

// evict closes the connection among those that has been idle the longest; it needs mu.
func (l *boundedListener) evict(among func(*boundedConn) bool) bool {
	var longest *boundedConn
	for o := range l.open {
		if !o.idle.IsZero() && among(o) && (longest == nil || o.idle.Before(longest.idle)) {
			longest = o
		}
	}
	if longest == nil || time.Since(longest.idle) < restTime {
		return false
	}
	l.report.Evicted++
	l.remove(longest)
	longest.Conn.Close() //nolint:errcheck // its server notices
	return true
}

// remove needs mu.
func (l *boundedListener) remove(c *boundedConn) {
	if _, ok := l.open[c]; !ok {
		return
	}
	delete(l.open, c)
	if l.addresses[c.prefix]--; l.addresses[c.prefix] == 0 {
		delete(l.addresses, c.prefix)
	}
	if !c.known {
		l.strangers--
	}
}

// Close implements [net.Conn].
func (c *boundedConn) Close() error {
	c.once.Do(func() {
		c.l.mu.Lock()
		defer c.l.mu.Unlock()
		c.l.remove(c)
	})
	return c.Conn.Close()
}

// noteState is the server's hook: it learns which connections are idle.
func (l *boundedListener) noteState(conn net.Conn, s http.ConnState) {
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	c, ok := conn.(*boundedConn)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if c.idle = (time.Time{}); s == http.StateIdle {
		c.idle = time.Now()
	}
}

func (l *boundedListener) state() ConnectionReport {
	l.mu.Lock()
	defer l.mu.Unlock()
	r := l.report
	r.Open, r.Lately = len(l.open), !l.refused.IsZero() && time.Since(l.refused) < 5*time.Second
	return r
}
