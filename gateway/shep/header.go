package shep

import (
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/xmlsig"
)

// Namespaces of WS-Security 1.0, and the actor that is whoever reads a message next (SOAP 1.1 §4.2.2).
const (
	nsWSSE    = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
	nsWSU     = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
	actorNext = "http://schemas.xmlsoap.org/soap/actor/next"
)

// FaultMustUnderstand is the faultcode of SOAP 1.1 §4.2.3 for a header entry that the receiver must, and
// does not, understand. Its prefix is that of the envelopes that [Encode] writes.
const FaultMustUnderstand = "soap:MustUnderstand"

// A Timestamp is what a WS-Security header says of a message's time (WS-Security 1.0 §10). What it does
// not say is zero.
type Timestamp struct {
	Created, Expires time.Time
	// Signed says that the signature of the Body is over it too.
	Signed bool
}

// readHeader reads the header of an envelope, which may be no element: the time that it states, and
// whether everything in it is understood that must be. Signed is the Timestamp that was signed, if one
// was: the time is read from that very element.
func readHeader(header, signed xmlsig.Element) (Timestamp, error) {
	stamp := signed
	for entry := range header.Children() {
		if entry.Is(nsWSSE, "Security") {
			for c := range entry.Children() {
				if !c.Is(nsWSU, "Timestamp") || c == stamp {
					continue
				}
				if !stamp.IsZero() {
					return Timestamp{}, gateway.Errorf(gateway.DocumentMalformed, "shep: the header holds more than one Timestamp")
				}
				stamp = c
			}
			continue
		}
		if mustBeUnderstood(entry) {
			return Timestamp{}, gateway.Errorf(gateway.HeaderNotUnderstood,
				"the header holds an entry with mustUnderstand that this contract does not have")
		}
	}
	if stamp.IsZero() {
		return Timestamp{}, nil
	}
	t, err := readTimestamp(stamp)
	t.Signed = stamp == signed
	return t, err
}

// mustBeUnderstood reports whether a header entry is for us and may not be left aside. One without an
// actor is for the last receiver, which a gateway is.
func mustBeUnderstood(entry xmlsig.Element) bool {
	must, _ := entry.Attr(nsSOAP, "mustUnderstand")
	if must = strings.TrimSpace(must); must != "1" && must != "true" {
		return false
	}
	actor, _ := entry.Attr(nsSOAP, "actor")
	actor = strings.TrimSpace(actor)
	return actor == "" || actor == actorNext
}

func readTimestamp(el xmlsig.Element) (t Timestamp, err error) {
	wrong := func() (Timestamp, error) {
		return Timestamp{}, gateway.Errorf(gateway.DocumentMalformed,
			"shep: the header's Timestamp is not Created and Expires, each once, as a date and time")
	}
	for c := range el.Children() {
		var into *time.Time
		switch {
		case c.Is(nsWSU, "Created"):
			into = &t.Created
		case c.Is(nsWSU, "Expires"):
			into = &t.Expires
		}
		if into == nil || !into.IsZero() {
			return wrong()
		}
		for range c.Children() {
			return wrong()
		}
		if *into, err = parseTimestamp(strings.TrimSpace(c.Text())); err != nil || into.IsZero() {
			return wrong()
		}
	}
	return t, nil
}

// parseTimestamp reads an instant of a Timestamp: without an offset it is UTC, unlike the contract's own
// dates (WS-Security 1.0 §10).
func parseTimestamp(s string) (time.Time, error) {
	if t, err := time.Parse(time.RFC3339Nano, s); err == nil {
		return t, nil
	}
	return time.Parse("2006-01-02T15:04:05.999999999", s)
}
