package trust_test

import (
	"crypto/sha256"
	"encoding/binary"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

func TestAMemoryIsBounded(t *testing.T) {
	const octets, each = 64 << 10, 128
	m := trust.NewMemory[int](octets)
	key := func(i int) [sha256.Size]byte { return sha256.Sum256(binary.BigEndian.AppendUint32(nil, uint32(i))) }
	for i := range 10_000 {
		m.Put(key(i), i, each)
		if v, ok := m.Get(key(i)); !ok || v != i {
			t.Fatalf("%d was put and is not there", i)
		}
	}
	kept := 0
	for i := range 10_000 {
		if v, ok := m.Get(key(i)); ok {
			kept++
			if v != i {
				t.Fatalf("%d under the key of %d", v, i)
			}
		}
	}
	if kept*each > octets || kept*each < octets/4 {
		t.Errorf("%d entries of %d octets are kept in %d", kept, each, octets)
	}
}

// #89: variants of one certificate find no place anywhere.
func TestTenThousandVariantsOfOneCertificate(t *testing.T) {
	raw := pki(t).Must("citizen-01").DER
	for i := range 10_000 {
		variant := append(raw[:len(raw):len(raw)], binary.BigEndian.AppendUint32(nil, uint32(i))...)
		if i%2 == 0 { // inside the outer sequence
			variant[2], variant[3] = byte((len(variant)-4)>>8), byte(len(variant)-4)
		}
		if _, err := trust.ParseCertificate(variant); gateway.ReasonOf(err) != gateway.CertificateTrailing {
			t.Fatalf("variant %d: %v", i, err)
		}
	}
}

// A path that leads through a certificate sent along is not remembered for those who send none.
func TestWhatOthersSentIsNotRemembered(t *testing.T) {
	f := newForge(t)
	root := f.ca("root", nil)
	issuing := f.ca("issuing", root)
	person := f.person(issuing)
	s, err := trust.New(trust.Config{Anchors: []trust.Anchor{{Certificate: root.c}}})
	if err != nil {
		t.Fatal(err)
	}
	judge := func(at time.Time, untrusted ...*trust.Certificate) gateway.Reason {
		return gateway.ReasonOf(s.Judge(person.c, trust.JudgeOptions{At: at, Purpose: trust.PurposeSignPerson, Untrusted: untrusted}).PathErr)
	}
	for range 2 {
		if r := judge(now, issuing.c); r != "" {
			t.Errorf("with its issuer: %q", r)
		}
		if r := judge(now); r != gateway.NoIssuer {
			t.Errorf("without its issuer: %q", r)
		}
	}
	known, err := trust.New(trust.Config{Anchors: []trust.Anchor{{Certificate: root.c}}, Intermediates: []*trust.Certificate{issuing.c}})
	if err != nil {
		t.Fatal(err)
	}
	for _, tt := range []struct {
		at   time.Time
		want gateway.Reason
	}{{now, ""}, {issuing.c.NotAfter, ""}, {issuing.c.NotAfter.Add(time.Second), gateway.IssuerExpired}, {issuing.c.NotBefore.Add(-time.Second), gateway.IssuerExpired}, {now, ""}} {
		if got := gateway.ReasonOf(known.Judge(person.c, trust.JudgeOptions{At: tt.at, Purpose: trust.PurposeAny}).PathErr); got != tt.want {
			t.Errorf("at %v: %q, want %q", tt.at, got, tt.want)
		}
	}
}
