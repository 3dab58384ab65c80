package xmlsig_test

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/beevik/etree"
	dsiglib "github.com/russellhaering/goxmldsig"

	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig"
)

// What BenchmarkTable measures against, in the order of benchDocuments.
var (
	wantGoxmldsig = []float64{14, 30, 17, 40}
	wantXMLSec    = []float64{3, 7, 4, 9}
	wantLimit     = []float64{70, 40, 24, 22} // per cent
)

// BenchmarkTable prints how fast a verification is against its peers, all measured in turn in
// one run. Run it on one core, with nothing else on it: `make bench-xmlsig`.
//
// The limit is what nobody can do without: one RSA verification and one SHA-256 of the bytes.
func BenchmarkTable(b *testing.B) {
	for range b.N {
		if err := table(b).Flush(); err != nil {
			b.Fatal(err)
		}
	}
}

func table(b *testing.B) *tabwriter.Writer {
	cert, err := x509.ParseCertificate(alice().cert)
	if err != nil {
		b.Fatal(err)
	}
	known, err := trust.ParseCertificate(alice().cert)
	if err != nil {
		b.Fatal(err)
	}
	store := &dsiglib.MemoryX509CertificateStore{Roots: []*x509.Certificate{cert}}
	digest := sha256.Sum256([]byte("x"))
	sig := alice().sign(b, crypto.SHA256, []byte("x"))
	must := func(err error) {
		if err != nil {
			b.Fatal(err)
		}
	}
	ours := func() { must(known.Key.VerifyDigest(trust.SHA256, digest[:], sig)) }
	std := func() { must(rsa.VerifyPKCS1v15(&alice().rsa.PublicKey, crypto.SHA256, digest[:], sig)) }
	peer := newXMLSecPeer(b)

	var head, size, own, gox, sec, limit, allocations []string
	var oursRSA, stdRSA []float64
	var strict []string
	cell := func(f float64, want float64) string {
		verdict := "reached"
		if f < want {
			verdict = "missed"
		}
		return fmt.Sprintf("%.1f (%s %.0f)", f, verdict, want)
	}
	for i, d := range benchDocuments(b) {
		cache := xmlsig.NewCertificateCache(0)
		verify := func() {
			s, err := xmlsig.Verify(d.doc, xmlsig.Options{Certificates: cache})
			must(err)
			s.Release()
		}
		var self, toGox, toSec, toLimit, toStrict []float64
		for range 7 {
			t := each(verify)
			self = append(self, t)
			toGox = append(toGox, each(func() {
				doc := etree.NewDocument()
				must(doc.ReadFromBytes(d.doc))
				_, err := dsiglib.NewDefaultValidationContext(store).Validate(doc.Root())
				must(err)
			})/t)
			fast, plain, sum := each(ours), each(std), each(func() { sha256.Sum256(d.doc) })
			oursRSA, stdRSA = append(oursRSA, fast), append(stdRSA, plain)
			toLimit, toStrict = append(toLimit, 100*(plain+sum)/t), append(toStrict, 100*(fast+sum)/t)
			if peer.missing == "" {
				toSec = append(toSec, peer.each(b, d.doc)/t)
			}
		}
		head = append(head, d.name)
		size = append(size, fmt.Sprintf("%d / %d", len(d.doc), strings.Count(string(d.doc), "</")+strings.Count(string(d.doc), "/>")))
		own = append(own, fmt.Sprintf("%.1f", median(self)))
		gox = append(gox, cell(median(toGox), wantGoxmldsig[i]))
		if peer.missing == "" {
			sec = append(sec, cell(median(toSec), wantXMLSec[i]))
		} else {
			sec = append(sec, "missing")
		}
		limit = append(limit, cell(median(toLimit), wantLimit[i]))
		strict = append(strict, fmt.Sprintf("%.1f", median(toStrict)))
		allocations = append(allocations, fmt.Sprintf("%.0f", testing.AllocsPerRun(100, verify)))
	}
	fmt.Printf("\nVerification of one XML signature (RSA-2048, SHA-256, c14n 1.0), certificate cache warm, GOMAXPROCS=%d.\n", runtime.GOMAXPROCS(0))
	fmt.Println("Each figure is the median of seven rounds in which all take turns; a ratio is that of one round.")
	fmt.Printf("The limit is one RSA verification by crypto/rsa (%.1f µs; %.1f with a cached modulus, as we do it) and one SHA-256 of the bytes.\n", median(stdRSA), median(oursRSA))
	if peer.missing == "" {
		fmt.Printf("%s verifies the same file with --repeat, its key given; a short run is subtracted, so start-up is not counted. Reading the file is.\n", peer.version)
	} else {
		fmt.Println("xmlsec1 is missing:", peer.missing)
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	for _, row := range []struct {
		name  string
		cells []string
	}{
		{"", head}, {"bytes / elements", size}, {"microseconds", own}, {"times goxmldsig + etree", gox},
		{"times xmlsec1's library", sec}, {"per cent of the limit", limit},
		{"the same, cached modulus", strict}, {"allocations", allocations},
	} {
		fmt.Fprintf(w, "%s\t%s\n", row.name, strings.Join(row.cells, "\t"))
	}
	return w
}

// each returns the microseconds that f takes on average over at least a twentieth of a second,
// its garbage collections included.
func each(f func()) float64 {
	f()
	runtime.GC()
	n := 0
	start := time.Now()
	for ; n < 3 || time.Since(start) < 50*time.Millisecond; n++ {
		f()
	}
	return float64(time.Since(start).Nanoseconds()) / 1e3 / float64(n)
}

func median(all []float64) float64 {
	slices.Sort(all)
	return all[len(all)/2]
}

// An xmlsecPeer measures xmlsec1's library by repeating a verification in one process.
type xmlsecPeer struct {
	path, dir, version string
	missing            string // why there is none
}

func newXMLSecPeer(b *testing.B) xmlsecPeer {
	path, err := exec.LookPath("xmlsec1")
	if err != nil {
		return xmlsecPeer{missing: "not installed (package xmlsec1)"}
	}
	version, err := exec.Command(path, "--version").Output()
	if err != nil {
		return xmlsecPeer{missing: err.Error()}
	}
	dir := b.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "cert.pem"), alice().certPEM(), 0o600); err != nil {
		b.Fatal(err)
	}
	return xmlsecPeer{path: path, dir: dir, version: strings.TrimSpace(string(version))}
}

func (x xmlsecPeer) run(b *testing.B, repeat int) time.Duration {
	b.Helper()
	cmd := exec.Command(x.path, "--verify", "--repeat", strconv.Itoa(repeat), "--enabled-key-data", "rsa",
		"--pubkey-cert-pem", filepath.Join(x.dir, "cert.pem"), filepath.Join(x.dir, "doc.xml"))
	start := time.Now()
	if err := cmd.Run(); err != nil {
		b.Fatalf("xmlsec1: %v", err)
	}
	return time.Since(start)
}

// each returns the microseconds of one verification: a long run less a short one.
func (x xmlsecPeer) each(b *testing.B, doc []byte) float64 {
	b.Helper()
	if err := os.WriteFile(filepath.Join(x.dir, "doc.xml"), doc, 0o600); err != nil {
		b.Fatal(err)
	}
	const short = 10
	n := max(50, 10_000_000/(len(doc)+20_000))
	return float64((x.run(b, n+short) - x.run(b, short)).Nanoseconds()) / 1e3 / float64(n)
}
