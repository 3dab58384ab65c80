package revocation_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/binary"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
)

// R4c: what a list may and may not prove. There is no responder in any row.
func TestCRLs(t *testing.T) {
	p := pki(t)
	me := serialOf(p.Must("citizen-01"))
	is := func(reason int) []item { return []item{{serial: me, reason: reason}} }
	idp := func(parts ...[]byte) [][]byte {
		return [][]byte{extension(true, oid(2, 5, 29, 28), tlv(0x30, parts...))}
	}
	point := func(url string) []byte { return tlv(0xa0, tlv(0xa0, tlv(0x86, []byte(url)))) }
	tests := []struct {
		name        string
		full, delta *list
		want        gateway.Reason
		method      string
	}{
		{"a fresh list without it", &list{}, nil, "", "crl"},
		{"a list of others", &list{revoked: []item{{serial: []byte{1}, reason: 1}, {serial: []byte{0x80}, reason: -1}}}, nil, "", "crl"},
		{"#6 the signed algorithm without NULL, the outer with it", &list{innerPlain: true}, nil, "", "crl"},
		{"#67 listed: keyCompromise", &list{revoked: is(1)}, nil, gateway.Revoked, "crl"},
		{"#67 listed without reason", &list{revoked: is(-1)}, nil, gateway.Revoked, "crl"},
		{"listed: certificateHold", &list{revoked: is(6)}, nil, gateway.Suspended, "crl"},
		{"listed twice, hold and keyCompromise", &list{revoked: append(is(6), is(1)...)}, nil, gateway.Revoked, "crl"},
		{"listed twice, keyCompromise and hold", &list{revoked: append(is(1), is(6)...)}, nil, gateway.Revoked, "crl"},
		{"#68 older than maxAge though nextUpdate is far", &list{thisUpdate: now.Add(-27 * time.Hour), nextUpdate: now.AddDate(0, 0, 180)}, nil, gateway.EvidenceStale, ""},
		{"#68 the same, listed for good", &list{thisUpdate: now.Add(-27 * time.Hour), nextUpdate: now.AddDate(0, 0, 180), revoked: is(1)}, nil, gateway.Revoked, "crl"},
		{"#68 the same, listed on hold", &list{thisUpdate: now.Add(-27 * time.Hour), nextUpdate: now.AddDate(0, 0, 180), revoked: is(6)}, nil, gateway.Suspended, "crl"},
		{"26 hours old to the second", &list{thisUpdate: now.Add(-26 * time.Hour)}, nil, "", "crl"},
		{"nextUpdate passed a second ago", &list{nextUpdate: now.Add(-time.Second)}, nil, gateway.EvidenceStale, ""},
		{"nextUpdate is now", &list{nextUpdate: now}, nil, "", "crl"},
		{"no nextUpdate", &list{noNext: true}, nil, gateway.EvidenceStale, ""},
		{"nextUpdate before thisUpdate", &list{nextUpdate: now.Add(-2 * time.Hour)}, nil, gateway.EvidenceUntrusted, ""},
		{"dated ten minutes ahead", &list{thisUpdate: now.Add(10 * time.Minute)}, nil, gateway.EvidenceFuture, ""},
		{"dated a minute ahead", &list{thisUpdate: now.Add(time.Minute)}, nil, "", "crl"},
		{"#70 signed with another key", &list{key: p.Must("same-name-issuing").Signer}, nil, gateway.EvidenceUntrusted, ""},
		{"#70 of the CA with the same name and another key", &list{issuer: p.Must("same-name-issuing")}, nil, gateway.EvidenceUntrusted, ""},
		{"of another CA", &list{issuer: p.Must("other-issuing")}, nil, gateway.EvidenceUntrusted, ""},
		{"no number", &list{number: -1}, nil, gateway.EvidenceUntrusted, ""},
		{"#72 unknown critical extension", &list{extensions: [][]byte{extension(true, oid(1, 2, 3), null)}}, nil, gateway.EvidenceScope, ""},
		{"unknown extension that is not critical", &list{extensions: [][]byte{extension(false, oid(1, 2, 3), null)}}, nil, "", "crl"},
		{"#72 unknown critical extension of an entry", &list{revoked: []item{{serial: []byte{1}, reason: -1, extensions: [][]byte{extension(true, oid(1, 2, 3), null)}}}}, nil, gateway.EvidenceScope, ""},
		{"an invalidity date beside the reason", &list{revoked: []item{{serial: me, reason: 1, extensions: [][]byte{extension(false, oid(2, 5, 29, 24), general(now))}}}}, nil, gateway.Revoked, "crl"},
		{"an extension twice", &list{extensions: [][]byte{extension(false, oid(1, 2, 3), null), extension(false, oid(1, 2, 3), null)}}, nil, gateway.EvidenceUntrusted, ""},
		{"reason code 7, which does not exist", &list{revoked: []item{{serial: []byte{1}, reason: 7}}}, nil, gateway.EvidenceUntrusted, ""},
		{"removeFromCRL in a full list", &list{revoked: is(8)}, nil, gateway.EvidenceUntrusted, ""},
		{"#73 for CA certificates only", &list{extensions: idp(tlv(0x82, []byte{0xff}))}, nil, gateway.EvidenceScope, ""},
		{"#73 for attribute certificates only", &list{extensions: idp(tlv(0x85, []byte{0xff}))}, nil, gateway.EvidenceScope, ""},
		{"for users' certificates only", &list{extensions: idp(tlv(0x81, []byte{0xff}))}, nil, "", "crl"},
		{"#74 for some reasons only", &list{extensions: idp(tlv(0x83, []byte{0, 0x40}))}, nil, gateway.EvidenceScope, ""},
		{"#75 of another distribution point", &list{extensions: idp(point("crl://partition-2"))}, nil, gateway.EvidenceScope, ""},
		{"#75 of the configured distribution point", &list{extensions: idp(point(crlURL))}, nil, "", "crl"},
		{"#76 indirect", &list{extensions: idp(tlv(0x84, []byte{0xff}))}, nil, gateway.EvidenceScope, ""},
		{"#76 an entry of another issuer without saying indirect", &list{revoked: []item{{serial: []byte{1}, reason: -1, extensions: [][]byte{extension(true, oid(2, 5, 29, 29), tlv(0x30))}}}}, nil, gateway.EvidenceScope, ""},
		{"#77 a delta where the full list is", &list{base: 5}, nil, gateway.EvidenceScope, ""},
		{"an issuing distribution point that is not critical", &list{extensions: [][]byte{extension(false, oid(2, 5, 29, 28), tlv(0x30, tlv(0x81, []byte{0xff})))}}, nil, gateway.EvidenceUntrusted, ""},
		{"a full list where the delta is: the full one stands", &list{}, &list{number: 6}, "", "crl"},
		{"a fresh delta lets an old full list prove", &list{thisUpdate: now.AddDate(0, 0, -20), nextUpdate: now.AddDate(0, 0, 20)}, &list{base: 5}, "", "crl+delta"},
		{"a delta of three hours ago does not", &list{thisUpdate: now.AddDate(0, 0, -20), nextUpdate: now.AddDate(0, 0, 20)}, &list{base: 5, thisUpdate: now.Add(-3 * time.Hour)}, gateway.EvidenceStale, ""},
		{"a full list past its nextUpdate is no base", &list{thisUpdate: now.AddDate(0, 0, -20), nextUpdate: now.AddDate(0, 0, -1)}, &list{base: 5}, gateway.EvidenceStale, ""},
		{"#78 the delta completes a newer full list than ours", &list{thisUpdate: now.AddDate(0, 0, -20), nextUpdate: now.AddDate(0, 0, 20)}, &list{base: 6}, gateway.EvidenceStale, ""},
		{"#78 the same, and the delta revokes it for good", &list{thisUpdate: now.AddDate(0, 0, -20), nextUpdate: now.AddDate(0, 0, 20)}, &list{base: 6, revoked: is(1)}, gateway.Revoked, "crl"},
		{"the delta's own number is lower: the series are not shared", &list{number: 14, thisUpdate: now.Add(-2 * time.Hour)}, &list{number: 10, base: 14}, "", "crl+delta"},
		{"the delta revokes it", &list{thisUpdate: now.Add(-2 * time.Hour)}, &list{base: 5, revoked: is(4)}, gateway.Revoked, "crl+delta"},
		{"the delta suspends it", &list{thisUpdate: now.Add(-2 * time.Hour)}, &list{base: 5, revoked: is(6)}, gateway.Suspended, "crl+delta"},
		{"an older delta than the full list does not suspend", &list{}, &list{base: 5, thisUpdate: now.Add(-90 * time.Minute), revoked: is(6)}, "", "crl"},
		{"#79 the delta removes a hold", &list{thisUpdate: now.Add(-2 * time.Hour), revoked: is(6)}, &list{base: 5, revoked: is(8)}, "", "crl+delta"},
		{"#80 the delta removes a compromised key", &list{thisUpdate: now.Add(-2 * time.Hour), revoked: is(1)}, &list{base: 5, revoked: is(8)}, gateway.EvidenceConflict, ""},
		{"a delta removes what was never listed", &list{thisUpdate: now.Add(-2 * time.Hour)}, &list{base: 5, revoked: is(8)}, "", "crl+delta"},
		{"a forged delta that removes a hold", &list{thisUpdate: now.Add(-2 * time.Hour), revoked: is(6)}, &list{base: 5, revoked: is(8), key: p.Must("citizen-02").Signer}, gateway.Suspended, "crl"},
		{"a delta without a full list", nil, &list{base: 5}, gateway.StatusUnavailable, ""},
		{"a delta without a full list, which revokes", nil, &list{base: 5, revoked: is(1)}, gateway.Revoked, "crl+delta"},
		{"#82 nothing", &list{mangle: func([]byte) []byte { return nil }}, nil, gateway.EvidenceUntrusted, ""},
		{"#82 cut in half", &list{mangle: func(b []byte) []byte { return b[:len(b)/2] }}, nil, gateway.EvidenceUntrusted, ""},
		{"#82 gzip", &list{mangle: func([]byte) []byte { return []byte{0x1f, 0x8b, 8, 0} }}, nil, gateway.EvidenceUntrusted, ""},
		{"a byte after the list", &list{mangle: func(b []byte) []byte { return append(b, 0) }}, nil, gateway.EvidenceUntrusted, ""},
		{"one bit of the content flipped", &list{revoked: is(6), mangle: func(b []byte) []byte {
			i := bytes.Index(b, me)
			b[i+5] ^= 1
			return b
		}}, nil, gateway.EvidenceUntrusted, ""},
		{"#84 the same serial in another issuer's list", &list{}, nil, "", "crl"},
		{"#69 no list at all", nil, nil, gateway.StatusUnavailable, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.publish(rootCRL, list{issuer: p.Must("root"), revoked: []item{{serial: me, reason: 1}}}.make(p)) // #84 in every row
			if tt.full != nil {
				s.publish(crlURL, tt.full.make(p))
			}
			if tt.delta != nil {
				s.publish(deltaURL, tt.delta.make(p))
			}
			e, err := s.check(s.refreshed(func(c *revocation.Config) { c.Issuers[0].OCSP = nil }))
			wantReason(t, err, tt.want)
			if e.Method != tt.method && (tt.want == "" || tt.method != "") {
				t.Errorf("proven by %q, want %q", e.Method, tt.method)
			}
			if err == nil && !bytes.Contains(e.Raw, []byte("sha256")) {
				t.Errorf("evidence %q does not name the list", e.Raw)
			}
		})
	}
}

// #83, #85 and the entries that the fast reader must not wave through.
func TestEntriesOfACRL(t *testing.T) {
	p := pki(t)
	date := tlv(0x17, []byte("260101000000Z"))
	tests := []struct {
		name    string
		entries []byte
		ok      bool
	}{
		{"UTCTime", tlv(0x30, tlv(0x02, []byte{5}), date), true},
		{"GeneralizedTime", tlv(0x30, tlv(0x02, []byte{5}), tlv(0x18, []byte("20500101000000Z"))), true},
		{"#85 a serial with sign octet", tlv(0x30, tlv(0x02, []byte{0, 0x85}), date), true},
		{"a serial of twenty octets", tlv(0x30, tlv(0x02, append([]byte{1}, make([]byte, 19)...)), date), true},
		{"a serial of twenty-one octets", tlv(0x30, tlv(0x02, append([]byte{1}, make([]byte, 20)...)), date), false},
		{"a padded serial", tlv(0x30, tlv(0x02, []byte{0, 5}), date), false},
		{"a negative serial", tlv(0x30, tlv(0x02, []byte{0x85}), date), false},
		{"serial zero", tlv(0x30, tlv(0x02, []byte{0}), date), false},
		{"an empty serial", tlv(0x30, tlv(0x02), date), false},
		{"no date", tlv(0x30, tlv(0x02, []byte{5})), false},
		{"31 February", tlv(0x30, tlv(0x02, []byte{5}), tlv(0x17, []byte("260231000000Z"))), false},
		{"29 February of a year without one", tlv(0x30, tlv(0x02, []byte{5}), tlv(0x17, []byte("260229000000Z"))), false},
		{"29 February of a leap year", tlv(0x30, tlv(0x02, []byte{5}), tlv(0x17, []byte("280229000000Z"))), true},
		{"hour 24", tlv(0x30, tlv(0x02, []byte{5}), tlv(0x17, []byte("260101240000Z"))), false},
		{"letters in the date", tlv(0x30, tlv(0x02, []byte{5}), tlv(0x17, []byte("26010100000xZ"))), false},
		{"a date with an offset", tlv(0x30, tlv(0x02, []byte{5}), tlv(0x17, []byte("260101000000+0500"))), false},
		{"bytes after the extensions", tlv(0x30, tlv(0x02, []byte{5}), date, tlv(0x30, extension(false, oid(2, 5, 29, 21), []byte{10, 1, 1})), null), false},
		{"empty extensions", tlv(0x30, tlv(0x02, []byte{5}), date, tlv(0x30)), false},
		{"a reason of two octets", tlv(0x30, tlv(0x02, []byte{5}), date, tlv(0x30, extension(false, oid(2, 5, 29, 21), []byte{10, 2, 0, 1}))), false},
		{"reason 200", tlv(0x30, tlv(0x02, []byte{5}), date, tlv(0x30, extension(false, oid(2, 5, 29, 21), []byte{10, 1, 200}))), false},
		{"the list is empty but there", nil, false},
		{"an entry that is a SET", tlv(0x31, tlv(0x02, []byte{5}), date), false},
		{"an entry with a length that is not minimal", append([]byte{0x30, 0x81, 0x12}, tlv(0x30, tlv(0x02, []byte{5}), date)[2:]...), false},
		{"#83 garbage behind the entries", append(tlv(0x30, tlv(0x02, []byte{5}), date), 0xff), false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			c, err := revocation.ParseCRL(bulk(p.Must("issuing").X509().RawSubject, tt.entries))
			if (err == nil) != tt.ok {
				t.Fatalf("%v", err)
			}
			if tt.ok && c.Len() != 1 {
				t.Errorf("%d entries", c.Len())
			}
			if !tt.ok {
				wantReason(t, err, gateway.EvidenceUntrusted)
			}
		})
	}
}

// bulk makes an unsigned list of ready entries, for the reader alone.
func bulk(issuer, entries []byte) []byte {
	body := [][]byte{{2, 1, 1}, sha256RSA, issuer, tlv(0x17, []byte("260101000000Z")), tlv(0x17, []byte("270101000000Z")), tlv(0x30, entries),
		tlv(0xa0, tlv(0x30, extension(false, oid(2, 5, 29, 20), []byte{2, 1, 5})))}
	return tlv(0x30, tlv(0x30, body...), sha256RSA, tlv(0x03, make([]byte, 257)))
}

// million makes the entries of n certificates in the NCA's shape: 53 octets each.
func million(n int) (entries, someSerial []byte) {
	serial := make([]byte, 20)
	for i := range n {
		rand.Read(serial)
		serial[0] = serial[0]&0x3f | 0x40
		binary.BigEndian.PutUint32(serial[1:], uint32(i))
		entries = append(entries, tlv(0x30, tlv(0x02, serial), tlv(0x17, []byte("260301120000Z")),
			tlv(0x30, extension(false, oid(2, 5, 29, 21), []byte{10, 1, 4})))...)
	}
	return entries, serial
}

// A list that fills many parts of the table, whose entries differ in size, and of which some
// serial numbers come twice.
func TestEveryEntryOfALargeListIsFound(t *testing.T) {
	const n = 60_000
	utc := tlv(0x17, []byte("260301120000Z"))
	serialAt := func(i int) []byte {
		s := binary.BigEndian.AppendUint32([]byte{0x55}, uint32(i))
		return append(s, make([]byte, i%16)...) // five to twenty octets
	}
	coded := func(code byte) []byte { return tlv(0x30, extension(false, oid(2, 5, 29, 21), []byte{10, 1, code})) }
	var entries []byte
	for i := range n {
		parts := [][]byte{tlv(0x02, serialAt(i)), utc}
		if i%3 > 0 {
			parts = append(parts, coded(byte(i%3*3))) // 3 or 6
		}
		entries = append(entries, tlv(0x30, parts...)...)
	}
	for i := range 100 { // held before, now revoked; revoked before, now held
		entries = append(entries, tlv(0x30, tlv(0x02, serialAt(i)), utc, coded([]byte{6, 4, 1}[i%3]))...)
	}
	c, err := revocation.ParseCRL(bulk(pki(t).Must("issuing").X509().RawSubject, entries))
	if err != nil {
		t.Fatal(err)
	}
	if c.Len() != n {
		t.Errorf("%d entries, want %d", c.Len(), n)
	}
	for i := range n {
		want := revocation.CRLReason(i % 3 * 3)
		if i < 100 && i%3 > 0 {
			want = []revocation.CRLReason{0, 4, 1}[i%3]
		}
		at, reason, listed := c.Find(serialAt(i))
		if !listed || reason != want || at.Format("060102150405") != "260301120000" {
			t.Fatalf("entry %d: listed %t, reason %d at %v, want %d", i, listed, reason, at, want)
		}
		if _, _, listed := c.Find(append([]byte{0x56}, serialAt(i)[1:]...)); listed {
			t.Fatalf("a serial number that is not in the list was found (%d)", i)
		}
	}
	if _, _, listed := c.Find(make([]byte, 21)); listed {
		t.Error("a serial number of 21 octets was found")
	}
}

// #81, #82: a list is replaced by a newer one and by nothing else.
func TestAListIsReplacedOnlyByABetterOne(t *testing.T) {
	p := pki(t)
	me := serialOf(p.Must("citizen-01"))
	held := list{number: 7, thisUpdate: now.Add(-2 * time.Hour)}
	tests := []struct {
		name   string
		next   list
		load   gateway.Reason
		replay bool // the new list revokes the citizen; it took effect
	}{
		{"newer, higher number", list{number: 8}, "", true},
		{"newer, the same number", list{number: 7}, "", true},
		{"#81 newer, lower number", list{number: 6}, gateway.EvidenceRollback, false},
		{"#81 higher number, older", list{number: 8, thisUpdate: now.Add(-3 * time.Hour)}, gateway.EvidenceRollback, false},
		{"#82 zero octets", list{number: 8, mangle: func([]byte) []byte { return nil }}, gateway.EvidenceUntrusted, false},
		{"#82 truncated", list{number: 8, mangle: func(b []byte) []byte { return b[:len(b)-1] }}, gateway.EvidenceUntrusted, false},
		{"forged", list{number: 8, key: p.Must("same-name-issuing").Signer}, gateway.EvidenceUntrusted, false},
		{"dated ahead", list{number: 8, thisUpdate: now.Add(time.Hour)}, gateway.EvidenceFuture, false},
		{"a delta", list{number: 8, base: 7}, gateway.EvidenceScope, false},
		{"with a broken entry", list{number: 8, revoked: []item{{serial: []byte{1}, reason: 7}}}, gateway.EvidenceUntrusted, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := newStage(t)
			s.publish(crlURL, held.make(p))
			k := s.refreshed(func(c *revocation.Config) { c.Issuers[0].OCSP, c.Issuers[0].DeltaCRL = nil, "" })
			if _, err := s.check(k); err != nil {
				t.Fatal(err)
			}
			tt.next.revoked = append([]item{{serial: me, reason: 1}}, tt.next.revoked...)
			s.publish(crlURL, tt.next.make(p))
			err := k.Refresh(context.Background())
			if gateway.ReasonOf(err) != tt.load {
				t.Errorf("loading: %v, want %q", err, tt.load)
			}
			want := gateway.Reason("")
			if tt.replay {
				want = gateway.Revoked
			}
			_, err = s.check(k)
			wantReason(t, err, want)
		})
	}
}

func TestAnIssuingCAThatWasRevoked(t *testing.T) {
	p := pki(t)
	s := newStage(t)
	second := certificate(t, p.Must("issuing-revoked").DER)
	configure := func(c *revocation.Config) {
		c.Issuers = append(c.Issuers, revocation.Issuer{Certificate: second, Label: "second", CRL: otherCRL})
	}
	s.publish(otherCRL, list{issuer: p.Must("issuing-revoked")}.make(p))
	ids := []string{"citizen-revoked-ca", "issuing-revoked", "root"}
	tests := []struct {
		name   string
		reason int
		want   gateway.Reason
	}{
		{"#86 for good", 2, gateway.IssuerRevoked},
		{"#86 on hold", 6, gateway.IssuerRevoked},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s.publish(rootCRL, list{issuer: p.Must("root"), revoked: []item{{serial: serialOf(p.Must("issuing-revoked")), reason: tt.reason}}}.make(p))
			_, err := s.check(s.refreshed(configure), ids...)
			wantReason(t, err, tt.want)
		})
	}
	s.publish(rootCRL, list{issuer: p.Must("root")}.make(p))
	if _, err := s.check(s.refreshed(configure), ids...); err != nil {
		t.Errorf("before it was revoked: %v", err)
	}
	s.publish(rootCRL, nil)
	_, err := s.check(s.refreshed(configure), ids...)
	wantReason(t, err, gateway.EvidenceUntrusted) // nothing is known of the CA
	s.publish(otherCRL, list{issuer: p.Must("issuing-revoked"), revoked: []item{{serial: serialOf(p.Must("citizen-revoked-ca")), reason: 1}}}.make(p))
	_, err = s.check(s.refreshed(configure), ids...)
	wantReason(t, err, gateway.Revoked) // what is certain is said, though the CA's state is not known
	s.publish(rootCRL, list{issuer: p.Must("root")}.make(p))
	_, err = s.check(s.refreshed(nil), ids...)
	wantReason(t, err, gateway.ConfigInvalid)
}

func FuzzParseCRL(f *testing.F) {
	p := pki(f)
	f.Add(list{revoked: []item{{serial: []byte{1}, reason: 1}, {serial: []byte{0x80}, reason: -1}}}.make(p))
	f.Add(list{base: 5, innerPlain: true, revoked: []item{{serial: []byte{1}, reason: 8}}}.make(p))
	f.Add(list{extensions: [][]byte{extension(true, oid(2, 5, 29, 28), tlv(0x30, tlv(0x81, []byte{0xff})))}}.make(p))
	f.Fuzz(func(t *testing.T, in []byte) {
		c, err := revocation.ParseCRL(in)
		switch gateway.ReasonOf(err) {
		case "":
			if c.ThisUpdate.IsZero() || len(c.RawIssuer) == 0 || c.Len() > len(in) {
				t.Error("a list that says nothing")
			}
		case gateway.EvidenceUntrusted, gateway.EvidenceScope:
		default:
			t.Errorf("reason of %v", err)
		}
	})
}
