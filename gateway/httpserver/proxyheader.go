package httpserver

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"strconv"
	"strings"
	"syscall"
)

// Bounds of a header of the PROXY protocol (haproxy.org, doc/proxy-protocol.txt).
const (
	// maxProxyV1 is the longest line of version 1, its end included (§2.1).
	maxProxyV1 = 107
	// maxProxyV2 bounds the whole header of version 2, whose own field would allow 64 KiB: the smallest
	// segment of TCP, in which a sender has to fit it so that it arrives at once (§2).
	maxProxyV2 = 536
)

// signatureV2 begins a header of version 2 (§2.2), and is no longer than the shortest of version 1.
const signatureV2 = "\r\n\r\n\x00\r\nQUIT\n"

var errProxyHeader = errors.New("no header of the PROXY protocol as it must be")

// readProxyHeader reads a header of version 1 or 2, and not one byte more. The address is that of the
// client; it is not valid when the balancer speaks for itself (LOCAL) or does not know (UNKNOWN, UNSPEC).
// Clients of anything but TCP are refused. [io.EOF] means that nothing came at all.
func readProxyHeader(r io.Reader) (client netip.AddrPort, err error) {
	buf := make([]byte, maxProxyV2)
	head := buf[:len(signatureV2)]
	if n, err := io.ReadFull(r, head); err != nil {
		if n == 0 && errors.Is(err, syscall.ECONNRESET) { // a balancer may end so what it only looked at
			err = io.EOF
		}
		return client, err
	}
	switch {
	case string(head) == signatureV2:
		client, err = readProxyV2(r, buf)
	case bytes.HasPrefix(head, []byte("PROXY ")):
		client, err = readProxyV1(r, buf)
	default:
		return client, errProxyHeader
	}
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return client, err
}

// readProxyV1 reads the rest of a line whose beginning is in buf.
func readProxyV1(r io.Reader, buf []byte) (netip.AddrPort, error) {
	n := len(signatureV2)
	for n < 2 || buf[n-2] != '\r' || buf[n-1] != '\n' {
		if n == maxProxyV1 {
			return netip.AddrPort{}, fmt.Errorf("%w: the line is too long", errProxyHeader)
		}
		if _, err := io.ReadFull(r, buf[n:n+1]); err != nil {
			return netip.AddrPort{}, err
		}
		n++
	}
	return parseProxyV1(string(buf[:n-2]))
}

// parseProxyV1 reads a line without its end (§2.1).
func parseProxyV1(line string) (client netip.AddrPort, err error) {
	if line == "PROXY UNKNOWN" || strings.HasPrefix(line, "PROXY UNKNOWN ") {
		return client, nil
	}
	f := strings.Split(line, " ")
	if len(f) != 6 || f[0] != "PROXY" || f[1] != "TCP4" && f[1] != "TCP6" {
		return client, errProxyHeader
	}
	var ends [2]netip.AddrPort
	for i := range ends {
		a, err := netip.ParseAddr(f[2+i])
		if err != nil || a.Is4() != (f[1] == "TCP4") || a.Zone() != "" {
			return client, fmt.Errorf("%w: an address", errProxyHeader)
		}
		port, err := strconv.ParseUint(f[4+i], 10, 16)
		if err != nil || f[4+i] != strconv.FormatUint(port, 10) {
			return client, fmt.Errorf("%w: a port", errProxyHeader)
		}
		ends[i] = netip.AddrPortFrom(a, uint16(port))
	}
	return clientOf(ends[0])
}

// readProxyV2 reads what comes after the signature (§2.2). What stands behind the addresses (TLV) is not
// looked at.
func readProxyV2(r io.Reader, buf []byte) (client netip.AddrPort, err error) {
	const fixed = 16
	if _, err := io.ReadFull(r, buf[len(signatureV2):fixed]); err != nil {
		return client, err
	}
	command, family, length := buf[12], buf[13], int(binary.BigEndian.Uint16(buf[14:fixed]))
	if fixed+length > maxProxyV2 {
		return client, fmt.Errorf("%w: %d bytes are announced", errProxyHeader, length)
	}
	rest := buf[fixed : fixed+length]
	if _, err := io.ReadFull(r, rest); err != nil {
		return client, err
	}
	switch {
	case command == 0x20: // LOCAL, whatever else it says
		return client, nil
	case command != 0x21: // PROXY
		return client, fmt.Errorf("%w: version or command", errProxyHeader)
	case family == 0x00: // UNSPEC
		return client, nil
	case family == 0x11 && length >= 12: // TCP over IPv4
		return clientOf(netip.AddrPortFrom(netip.AddrFrom4([4]byte(rest[:4])), binary.BigEndian.Uint16(rest[8:10])))
	case family == 0x21 && length >= 36: // TCP over IPv6
		return clientOf(netip.AddrPortFrom(netip.AddrFrom16([16]byte(rest[:16])), binary.BigEndian.Uint16(rest[32:34])))
	}
	return client, fmt.Errorf("%w: the family of addresses", errProxyHeader)
}

// clientOf refuses what no connection can come from.
func clientOf(a netip.AddrPort) (netip.AddrPort, error) {
	ip := a.Addr().Unmap()
	if ip.IsUnspecified() || ip.IsMulticast() {
		return netip.AddrPort{}, fmt.Errorf("%w: an address", errProxyHeader)
	}
	return netip.AddrPortFrom(ip, a.Port()), nil
}
