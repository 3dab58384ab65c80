package trust_test

import (
	"bytes"
	"runtime"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// lengthened is a certificate of the CA, one of whose extensions holds a list of n entries.
func lengthened(t testing.TB, id string, list func(n int) []byte, n int) []byte {
	p := split(t, pki(t).Must("citizen-01").DER)
	body := p.tbs[atExtensions][headLen(p.tbs[atExtensions]):]
	oid := unhex(id)
	var kept [][]byte
	for _, e := range elements(body[headLen(body):]) {
		if !bytes.Contains(e, oid) {
			kept = append(kept, e)
		}
	}
	kept = append(kept, der(0x30, oid, der(0x04, list(n))))
	p.tbs[atExtensions] = der(0xa3, der(0x30, kept...))
	return p.sealed(t, pki(t).Must("issuing").Signer)
}

// repeated is a SEQUENCE of n different elements.
func repeated(one func(i int) []byte) func(n int) []byte {
	return func(n int) []byte {
		var list [][]byte
		for i := range n {
			list = append(list, one(i))
		}
		return der(0x30, list...)
	}
}

func arc(i int) []byte {
	return der(0x06, []byte{0x2a, 0x03, 0x80 | byte(i>>7&0x3f) | 0x40, byte(i & 0x7f)})
}

func person(i int) []byte {
	return der(0x30, der(0x31, der(0x30, unhex("0603550403"), der(0x0c, []byte{'a' + byte(i%26)}))))
}

// longLists are the extensions that a stranger can make as long as a certificate may be.
var longLists = []struct {
	name, id string
	list     func(n int) []byte
}{
	{"key usages", "0603551d25", repeated(arc)},
	{"policies", "0603551d20", repeated(func(i int) []byte { return der(0x30, arc(i)) })},
	{"distribution points", "0603551d1f", repeated(func(i int) []byte {
		return der(0x30, der(0xa0, der(0xa0, der(0x86, []byte("http://a.kz/")))))
	})},
	{"directory names", "0603551d11", repeated(func(i int) []byte { return der(0xa4, person(i)) })},
	{"permitted subtrees", "0603551d1e", func(n int) []byte {
		l := repeated(func(i int) []byte { return der(0x30, der(0xa4, person(i))) })(n)
		return der(0x30, der(0xa0, l[headLen(l):]))
	}},
}

// At most 64 of each are taken, which is far more than any CA writes.
func TestLongListsAreRefused(t *testing.T) {
	for _, l := range longLists {
		t.Run(l.name, func(t *testing.T) {
			if _, err := trust.ParseCertificate(lengthened(t, l.id, l.list, 64)); err != nil {
				t.Errorf("64: %v", err)
			}
			for _, n := range []int{65, 500} {
				if _, err := trust.ParseCertificate(lengthened(t, l.id, l.list, n)); gateway.ReasonOf(err) != gateway.CertificateTooLarge {
					t.Errorf("%d: %v, want %s", n, err, gateway.CertificateTooLarge)
				}
			}
		})
	}
}

// Reading a certificate that is refused costs no more for each octet when it is longer, neither
// time nor memory: before, 4,000 key usages took 37 ms of every unsigned message.
func TestHostileCertificatesAreLinear(t *testing.T) {
	for _, l := range longLists {
		t.Run(l.name, func(t *testing.T) {
			var docs [4][]byte
			for i, n := range []int{125, 250, 500, 1000} {
				docs[i] = lengthened(t, l.id, l.list, n)
				var before, after runtime.MemStats
				runtime.ReadMemStats(&before)
				trust.ParseCertificate(docs[i])
				runtime.ReadMemStats(&after)
				if octets := after.TotalAlloc - before.TotalAlloc; octets > uint64(12*len(docs[i])+16<<10) {
					t.Errorf("%d octets of memory for %d", octets, len(docs[i]))
				}
			}
			var small, large time.Duration
			for range 8 { // a busy machine gets more than one chance
				if small, large = fastest(docs[0]), fastest(docs[3]); large < 20*small {
					return
				}
			}
			t.Errorf("%v for %d octets, %v for %d", small, len(docs[0]), large, len(docs[3]))
		})
	}
}

func fastest(doc []byte) time.Duration {
	best := time.Hour
	for range 20 {
		start := time.Now()
		trust.ParseCertificate(doc)
		best = min(best, time.Since(start))
	}
	return best
}
