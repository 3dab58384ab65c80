package httpserver

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"sync"
	"time"
)

// connections are those on which a client showed a certificate. Such a connection ends when the
// certificate does, and when the certificate is taken back.
type connections struct {
	now func() time.Time

	mu  sync.Mutex
	all map[net.Conn]*shown // guarded by mu
}

// shown is a client's certificate and what ends its connection in time.
type shown struct {
	chain []*x509.Certificate // the client's own comes first
	end   *time.Timer
}

// note keeps the list; net/http calls it when a connection's state changes.
func (c *connections) note(conn net.Conn, state http.ConnState) {
	secure, ok := conn.(*tls.Conn)
	if !ok {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	known := c.all[conn]
	switch state {
	case http.StateActive:
		if known != nil {
			return
		}
		if shows := secure.ConnectionState().PeerCertificates; len(shows) > 0 {
			left := shows[0].NotAfter.Sub(c.now())
			c.all[conn] = &shown{shows, time.AfterFunc(left, func() { conn.Close() })}
		}
	case http.StateClosed, http.StateHijacked:
		if known != nil {
			known.end.Stop()
			delete(c.all, conn)
		}
	}
}

// EndConnections ends those whose client showed a certificate for which gone holds, requests at hand
// included, and returns how many there were. The client's own certificate comes first.
func (s *Server) EndConnections(gone func(chain []*x509.Certificate) bool) (ended int) {
	c := s.clients
	c.mu.Lock()
	defer c.mu.Unlock()
	for conn, one := range c.all {
		if gone(one.chain) {
			conn.(*tls.Conn).NetConn().Close() // without a word, which might wait for the client
			ended++
		}
	}
	return ended
}
