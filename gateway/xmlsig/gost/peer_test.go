package gost_test

import (
	"bytes"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"fmt"
	"hash"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"egov-gateway/gateway/harness/tool"
	"egov-gateway/gateway/xmlsig/gost"
)

// engine skips the test when OpenSSL's gost engine, the C implementation that others use, is
// not installed.
func engine(t testing.TB) {
	t.Helper()
	out, err := exec.Command("openssl", "engine", "-t", "gost").CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("[ available ]")) {
		tool.Missing(t, "OpenSSL has no gost engine: apt-get install libengine-gost-openssl")
	}
}

func openssl(t testing.TB, arg ...string) []byte {
	t.Helper()
	var stderr bytes.Buffer
	cmd := exec.Command("openssl", arg...)
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("openssl %s: %v\n%s", strings.Join(arg, " "), err, stderr.Bytes())
	}
	return out
}

func writeFile(t testing.TB, dir, name string, data []byte) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestHashesAgreeWithOpenSSL(t *testing.T) {
	engine(t)
	dir := t.TempDir()
	random := rand.New(rand.NewPCG(1, 2))
	var files []string
	messages := map[string][]byte{}
	add := func(m []byte) {
		f := writeFile(t, dir, fmt.Sprintf("m%03d", len(files)), m)
		files = append(files, f)
		messages[f] = m
	}
	for n := range 200 {
		m := make([]byte, n)
		for i := range m {
			m[i] = byte(random.Uint32())
		}
		add(m)
	}
	add(bytes.Repeat([]byte{255}, 64*9)) // carries through the whole checksum
	add(bytes.Repeat([]byte{255}, 100_003))
	add(make([]byte, 1<<20))
	for digest, h := range map[string]hash.Hash{"md_gost12_512": gost.NewStreebog512(), "md_gost12_256": gost.NewStreebog256(), "md_gost94": gost.NewGOST94CryptoPro()} {
		seen := 0
		for line := range strings.Lines(string(openssl(t, append([]string{"dgst", "-engine", "gost", "-r", "-" + digest}, files...)...))) {
			sum, file, ok := strings.Cut(strings.TrimSpace(line), " *")
			if !ok {
				t.Fatalf("openssl says %q", line)
			}
			seen++
			if digest == "md_gost94" && len(messages[file]) == 0 {
				continue // OpenSSL adds a block of zeros; published vectors and other programs do not
			}
			h.Reset()
			h.Write(messages[file])
			if got := hex.EncodeToString(h.Sum(nil)); got != sum {
				t.Errorf("%s of %d bytes: %s, OpenSSL says %s", digest, len(messages[file]), got, sum)
			}
		}
		if seen != len(files) {
			t.Errorf("%s: %d digests of %d", digest, seen, len(files))
		}
	}
}

// A peerKey is how OpenSSL names the keys of one curve; the numbers are the same.
type peerKey struct {
	curve             *gost.Curve
	algorithm         string
	key, set, digests asn1.ObjectIdentifier
}

var peerKeys = []peerKey{
	{gost.Curve512A(), "gost2012_512", asn1.ObjectIdentifier{1, 2, 643, 7, 1, 1, 1, 2}, asn1.ObjectIdentifier{1, 2, 643, 7, 1, 2, 1, 2, 1}, asn1.ObjectIdentifier{1, 2, 643, 7, 1, 1, 2, 3}},
	{gost.Curve256A(), "gost2001", asn1.ObjectIdentifier{1, 2, 643, 2, 2, 19}, asn1.ObjectIdentifier{1, 2, 643, 2, 2, 35, 1}, asn1.ObjectIdentifier{1, 2, 643, 2, 2, 30, 1}},
}

type algorithmIdentifier struct {
	ID         asn1.ObjectIdentifier
	Parameters []asn1.ObjectIdentifier
}

type pkcs8 struct {
	Version   int
	Algorithm algorithmIdentifier
	Key       []byte
}

type spki struct {
	Algorithm algorithmIdentifier
	Key       asn1.BitString
}

// files writes k as OpenSSL reads it.
func (p peerKey) files(t testing.TB, dir string, k *gost.PrivateKey) (private, public string) {
	t.Helper()
	id := algorithmIdentifier{p.key, []asn1.ObjectIdentifier{p.set, p.digests}}
	der, err := asn1.Marshal(pkcs8{0, id, k.Bytes()})
	if err != nil {
		t.Fatal(err)
	}
	point, err := asn1.Marshal(k.Public().(*gost.PublicKey).Bytes())
	if err != nil {
		t.Fatal(err)
	}
	pub, err := asn1.Marshal(spki{id, asn1.BitString{Bytes: point, BitLength: 8 * len(point)}})
	if err != nil {
		t.Fatal(err)
	}
	return writeFile(t, dir, p.algorithm+".key.pem", pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})),
		writeFile(t, dir, p.algorithm+".pub.pem", pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: pub}))
}

func turned(b []byte) []byte {
	b = slices.Clone(b)
	slices.Reverse(b)
	return b
}

// What OpenSSL signs we verify, and the reverse; the keys are OpenSSL's in one half and ours in
// the other. Its s‖r big-endian is our r‖s little-endian from last to first.
func TestSignaturesAgreeWithOpenSSL(t *testing.T) {
	engine(t)
	for _, p := range peerKeys {
		dir := t.TempDir()
		theirs := filepath.Join(dir, "theirs.pem")
		openssl(t, "genpkey", "-engine", "gost", "-algorithm", p.algorithm, "-pkeyopt", "paramset:A", "-out", theirs)
		raw, err := os.ReadFile(theirs)
		if err != nil {
			t.Fatal(err)
		}
		var parsed pkcs8
		block, _ := pem.Decode(raw)
		if _, err := asn1.Unmarshal(block.Bytes, &parsed); err != nil {
			t.Fatal(err)
		}
		same, err := gost.ParsePrivateKey(p.curve, parsed.Key)
		if err != nil {
			t.Fatal(err)
		}
		var pub spki
		var point []byte
		if _, err := asn1.Unmarshal(openssl(t, "pkey", "-engine", "gost", "-in", theirs, "-pubout", "-outform", "DER"), &pub); err != nil {
			t.Fatal(err)
		}
		if _, err := asn1.Unmarshal(pub.Key.Bytes, &point); err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(point, public(same).Bytes()) {
			t.Errorf("%s: OpenSSL's public key is %x, ours %x", p.algorithm, point, public(same).Bytes())
		}
		ours, _, _ := signed(t, p.curve)
		for who, k := range map[string]*gost.PrivateKey{"OpenSSL's key": same, "our key": ours} {
			private, pubFile := p.files(t, t.TempDir(), k)
			for i := range 4 {
				digest := bytes.Repeat([]byte{byte(37*i + 1)}, p.curve.Size())
				in := writeFile(t, dir, "digest", digest)
				sig := openssl(t, "pkeyutl", "-engine", "gost", "-sign", "-inkey", private, "-in", in)
				if !public(k).Verify(digest, turned(sig)) {
					t.Errorf("%s, %s: what OpenSSL signs does not verify", p.algorithm, who)
				}
				if public(k).Verify(digest, sig) {
					t.Errorf("%s, %s: OpenSSL's order of bytes verifies as it is", p.algorithm, who)
				}
				mine, err := k.Sign(nil, digest, nil)
				if err != nil {
					t.Fatal(err)
				}
				sigFile := writeFile(t, dir, "sig", turned(mine))
				openssl(t, "pkeyutl", "-engine", "gost", "-verify", "-pubin", "-inkey", pubFile, "-in", in, "-sigfile", sigFile)
			}
		}
	}
}
