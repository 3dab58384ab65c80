package httpserver

import (
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// maxForwarded bounds the addresses of one request that are looked at, the nearest first.
const maxForwarded = 16

// addressed gives a request the address of the client behind the balancers that are trusted, in the place
// of theirs, as host and port 0. What comes from anybody else says nothing about addresses.
func addressed(next http.Handler, trusted []netip.Prefix) http.Handler {
	if len(trusted) == 0 {
		return next
	}
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if peer, ok := hostOf(r.RemoteAddr); ok && within(peer, trusted) {
			if client, ok := forwarded(r.Header, trusted); ok {
				r.RemoteAddr = netip.AddrPortFrom(client, 0).String()
			}
		}
		next.ServeHTTP(w, r)
	})
}

func within(a netip.Addr, all []netip.Prefix) bool {
	return slices.ContainsFunc(all, func(p netip.Prefix) bool { return p.Contains(a.Unmap()) })
}

func hostOf(address string) (netip.Addr, bool) {
	ap, err := netip.ParseAddrPort(address)
	return ap.Addr().Unmap(), err == nil
}

// forwarded is the nearest address that no trusted balancer has, read from behind: each balancer appends
// whom it heard, and what stands before the first stranger's address is that stranger's word. Forwarded
// (RFC 7239 §5.2) goes before X-Forwarded-For; ok is false when neither names an address.
func forwarded(h http.Header, trusted []netip.Prefix) (client netip.Addr, ok bool) {
	var all []string
	if lines := h.Values("Forwarded"); len(lines) > 0 {
		for element := range strings.SplitSeq(strings.Join(lines, ","), ",") {
			all = append(all, forParameter(element))
		}
	} else {
		all = strings.Split(strings.Join(h.Values("X-Forwarded-For"), ","), ",")
	}
	for n := range min(len(all), maxForwarded) {
		a, err := parseNode(all[len(all)-1-n])
		if err != nil {
			return client, ok
		}
		if client, ok = a, true; !within(a, trusted) {
			return client, true
		}
	}
	return client, ok
}

// forParameter is the parameter "for" of an element of Forwarded, without quotes.
func forParameter(element string) string {
	for pair := range strings.SplitSeq(element, ";") {
		name, value, found := strings.Cut(strings.TrimSpace(pair), "=")
		if found && strings.EqualFold(name, "for") {
			return strings.Trim(value, `"`)
		}
	}
	return ""
}

// parseNode reads an address with or without brackets and port.
func parseNode(s string) (netip.Addr, error) {
	s = strings.TrimSpace(s)
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return ap.Addr().Unmap(), nil
	}
	a, err := netip.ParseAddr(strings.TrimSuffix(strings.TrimPrefix(s, "["), "]"))
	return a.Unmap(), err
}
