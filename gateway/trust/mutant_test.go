package trust_test

import (
	"bytes"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/trust"
)

// A mutant is a certificate whose content was damaged and then signed by the CA: nothing but
// the reading of its content can refuse it.
func mutant(t testing.TB, r *rand.Rand, id string) []byte {
	p := split(t, pki(t).Must(id).DER)
	switch r.IntN(3) {
	case 0: // the list of extensions
		body := p.tbs[atExtensions][headLen(p.tbs[atExtensions]):]
		list := elements(body[headLen(body):])
		for range 1 + r.IntN(2) {
			i, j := r.IntN(len(list)), r.IntN(len(list))
			switch r.IntN(5) {
			case 0:
				list[i], list[j] = list[j], list[i]
			case 1:
				list[i] = list[j]
			case 2:
				if len(list) > 1 {
					list = append(list[:i:i], list[i+1:]...)
				}
			case 3: // critical, or no longer so
				if parts := elements(list[i][headLen(list[i]):]); len(parts) == 2 {
					list[i] = der(0x30, parts[0], []byte{1, 1, 0xff}, parts[1])
				} else {
					list[i] = der(0x30, parts[0], parts[2])
				}
			case 4: // an octet of its content
				e := bytes.Clone(list[i])
				e[len(e)-1-r.IntN(min(len(e)-1, 12))] ^= 1 << r.IntN(8)
				list[i] = e
			}
		}
		p.tbs[atExtensions] = der(0xa3, der(0x30, list...))
	case 1: // one field, with a right length around it
		i := r.IntN(len(p.tbs))
		e := bytes.Clone(p.tbs[i])
		if at := headLen(e); len(e) > at {
			e[at+r.IntN(len(e)-at)] = byte(r.Uint32())
		}
		p.tbs[i] = e
	default: // any octets
		tbs := bytes.Join(p.tbs, nil)
		for range 1 + r.IntN(2) {
			switch i := r.IntN(len(tbs)); r.IntN(4) {
			case 0:
				tbs[i] ^= 1 << r.IntN(8)
			case 1:
				tbs[i] = byte(r.Uint32())
			case 2:
				tbs = append(tbs[:i:i], tbs[i+1:]...)
			case 3:
				tbs = append(tbs[:i:i], append([]byte{byte(r.Uint32())}, tbs[i:]...)...)
			}
		}
		p.tbs = [][]byte{tbs}
	}
	return p.sealed(t, pki(t).Must("issuing").Signer)
}

// Whatever is accepted here, the standard library and OpenSSL in its strict mode accept, too.
func TestMutantsAcceptedAreAcceptedByOthers(t *testing.T) {
	tool.Path(t, "openssl", "openssl")
	count := 5000
	if testing.Short() {
		count = 300
	}
	r := rand.New(rand.NewPCG(4, 2026))
	roots, middle := x509.NewCertPool(), x509.NewCertPool()
	roots.AddCert(pki(t).Must("root").X509())
	middle.AddCert(pki(t).Must("issuing").X509())
	store := storeOf(t)
	dir := t.TempDir()
	file := func(name string, der []byte) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	args := []string{"verify", "-x509_strict", "-attime", fmt.Sprint(now.Unix()), "-CAfile", file("root.pem", pki(t).Must("root").DER), "-untrusted", file("issuing.pem", pki(t).Must("issuing").DER)}
	accepted := map[string][]byte{}
	for n := range count {
		id, purpose := "citizen-01", trust.PurposeSignPerson
		if n%3 == 0 {
			id, purpose = "provider-sko-head", trust.PurposeSignLegal
		}
		m := mutant(t, r, id)
		c, err := trust.ParseCertificate(m)
		if err != nil {
			continue
		}
		j := store.Judge(c, trust.JudgeOptions{At: now, Purpose: purpose})
		if j.PathErr != nil || j.ValidityErr != nil || j.PurposeErr != nil {
			continue
		}
		accepted[file(fmt.Sprintf("mutant-%d.pem", n), m)] = m
		x, err := x509.ParseCertificate(m)
		if err == nil {
			_, err = x.Verify(x509.VerifyOptions{Roots: roots, Intermediates: middle, CurrentTime: now, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageAny}})
		}
		if err != nil {
			t.Errorf("mutant %d of %s is accepted here and refused by the standard library: %v\n%x", n, id, err, m)
		}
	}
	var files []string
	for name := range accepted {
		files = append(files, name)
	}
	for len(files) > 0 {
		batch := files[:min(len(files), 200)]
		files = files[len(batch):]
		verdicts, _ := exec.Command("openssl", append(args, batch...)...).Output() // fails when one is refused
		for _, name := range batch {
			if !strings.Contains(string(verdicts), name+": OK\n") {
				why, _ := exec.Command("openssl", append(args, name)...).CombinedOutput()
				t.Errorf("%s is accepted here and refused by OpenSSL: %s\n%x", filepath.Base(name), why, accepted[name])
			}
		}
	}
	if len(accepted) < count/50 || len(accepted) > count/2 {
		t.Errorf("accepted %d of %d: the mutants test nothing", len(accepted), count)
	}
	t.Logf("accepted %d of %d", len(accepted), count)
}
