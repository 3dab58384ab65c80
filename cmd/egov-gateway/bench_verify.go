package main

import (
	"context"
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/journal"
	"egov-gateway/gateway/journal/sqlitejournal"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
	"egov-gateway/gateway/xmlsig"
)

// benchForm is a signed request whose form has about n bytes. It has few elements enough for
// goxmldsig, which gives up on documents of some thousands.
func (b *bench) benchForm(citizen string, n int) ([]byte, error) {
	e := b.pki.Must(citizen)
	k, err := xmlsig.NewKey(e.DER, e.Signer)
	if err != nil {
		return nil, err
	}
	d := harness.Draft{CreatedAt: corpusClock, Territory: taraz, Applicant: harness.Person{IIN: e.IIN, Surname: e.Surname, GivenName: e.Name, Patronymic: e.Patronymic}}
	form := string(d.XML())
	var rows strings.Builder
	for i := 0; len(form)+rows.Len() < n; i++ {
		fmt.Fprintf(&rows, "<row n=\"%d\"><name>%s</name><sum>%d</sum></row>", i, strings.Repeat("Тұрғын үй көмегі ", 1+n/5000), 1000+i)
	}
	return xmlsig.Sign([]byte(strings.Replace(form, "</request>", "<rows>"+rows.String()+"</rows></request>", 1)), k, xmlsig.SignOptions{})
}

// benchVerification measures signatures against goxmldsig, xmlsec1 and what nobody can do without.
func benchVerification(b *bench) error {
	e := b.pki.Must("citizen-01")
	public, ok := e.X509().PublicKey.(*rsa.PublicKey)
	if !ok {
		return fmt.Errorf("citizen-01 has no RSA key")
	}
	round := 60 * time.Millisecond
	if b.quick {
		round = 10 * time.Millisecond
	}
	digest := sha256.Sum256([]byte("x"))
	value, err := e.Signer.Sign(nil, digest[:], crypto.SHA256)
	if err != nil {
		return err
	}
	plain, err := each(round, func() error { return rsa.VerifyPKCS1v15(public, crypto.SHA256, digest[:], value) })
	if err != nil {
		return err
	}
	store := &dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{e.X509()}}
	for _, size := range []struct {
		name  string
		bytes int
	}{{"4 KB", 0}, {"20 KB", 20 << 10}, {"200 KB", 200 << 10}} {
		for _, citizen := range []string{"citizen-01", "gost-citizen-01"} {
			doc, err := b.benchForm(citizen, size.bytes)
			if err != nil {
				return err
			}
			cache := xmlsig.NewCertificateCache(0)
			own, err := each(round, func() error {
				s, err := xmlsig.Verify(doc, xmlsig.Options{Certificates: cache})
				if err == nil {
					s.Release()
				}
				return err
			})
			if err != nil {
				return err
			}
			if citizen != "citizen-01" {
				b.add("GOST-2015, "+size.name, own, "µs", 0, false)
				continue
			}
			b.add("RSA, "+size.name, own, "µs", 0, false)
			sum, err := each(round, func() error { sha256.Sum256(doc); return nil })
			if err != nil {
				return err
			}
			b.add("… of what RSA and SHA-256 alone need, "+size.name, 100*(plain+sum)/own, "%", 0, true)
			theirs, err := each(round, func() error {
				d := etree.NewDocument()
				if err := d.ReadFromBytes(doc); err != nil {
					return err
				}
				_, err := dsig.NewDefaultValidationContext(store).Validate(d.Root())
				return err
			})
			if err != nil {
				return err
			}
			b.add("… times as quick as goxmldsig, "+size.name, theirs/own, "×", 0, true)
			if took, ok, err := xmlsecTakes(b.dir, e.CertificatePEM, doc, b.n(3_000_000)/(len(doc)+20_000)); err != nil {
				return err
			} else if ok {
				b.add("… times as quick as xmlsec1, start-up not counted, "+size.name, took/own, "×", 0, true)
			}
		}
	}
	return nil
}

// xmlsecTakes returns the microseconds of one verification by xmlsec1: a long run less a short one.
func xmlsecTakes(dir string, cert, doc []byte, n int) (float64, bool, error) {
	path, err := exec.LookPath("xmlsec1")
	if err != nil {
		return 0, false, nil //nolint:nilerr // the table leaves the line out and names no version
	}
	certFile, docFile := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "doc.xml")
	if err := os.WriteFile(certFile, cert, 0o600); err != nil {
		return 0, false, err
	}
	if err := os.WriteFile(docFile, doc, 0o600); err != nil {
		return 0, false, err
	}
	n = max(n, 20)
	run := func(repeat int) (time.Duration, error) {
		start := time.Now()
		err := exec.Command(path, "--verify", "--repeat", strconv.Itoa(repeat), "--enabled-key-data", "rsa", "--pubkey-cert-pem", certFile, docFile).Run()
		return time.Since(start), err
	}
	short, err := run(5)
	if err != nil {
		return 0, false, fmt.Errorf("xmlsec1: %w", err)
	}
	long, err := run(n + 5)
	return float64((long - short).Nanoseconds()) / 1e3 / float64(n), true, err
}

// offlineEvidence is a [verification.Revocation] over lists that are at hand.
type offlineEvidence struct{ lists, answers [][]byte }

func (o offlineEvidence) Check(_ context.Context, path *trust.Path, at time.Time) (revocation.Evidence, error) {
	return revocation.Offline(path, at, o.lists, o.answers, revocation.OfflineOptions{})
}

// benchDecision measures the five checks of a signer beside the signature.
func benchDecision(b *bench) error {
	var tc trust.Config
	for _, id := range append(append([]string(nil), trustedRoots...), trustedIssuers...) {
		c, err := trust.ParseCertificate(b.pki.Must(id).DER)
		if err != nil {
			return err
		}
		if c.SelfIssued() {
			tc.Anchors = append(tc.Anchors, trust.Anchor{Certificate: c})
		} else {
			tc.Intermediates = append(tc.Intermediates, c)
		}
	}
	lists, answers, err := evidenceAt(b.pki, corpusClock)
	if err != nil {
		return err
	}
	var ev offlineEvidence
	for _, l := range lists {
		ev.lists = append(ev.lists, l)
	}
	for _, a := range answers {
		ev.answers = append(ev.answers, a)
	}
	round := 100 * time.Millisecond
	if b.quick {
		round = 20 * time.Millisecond
	}
	for _, kind := range []string{"citizen-01", "gost-citizen-01"} {
		name := map[bool]string{true: "RSA", false: "GOST-2015"}[kind == "citizen-01"]
		doc, err := b.benchForm(kind, 0)
		if err != nil {
			return err
		}
		want := verification.Want{At: corpusClock, Purpose: trust.PurposeSignPerson}
		if want.Citizen, err = gateway.ParseIIN(b.pki.Must(kind).IIN); err != nil {
			return err
		}
		store, err := trust.New(tc)
		if err != nil {
			return err
		}
		v, err := verification.New(verification.Config{Trust: store})
		if err != nil {
			return err
		}
		opened, err := v.Open(doc, len(doc))
		if err != nil {
			return err
		}
		again, err := each(round, func() error {
			o := v.Judge(context.Background(), opened, want)
			return o.Verdict.Err()
		})
		if err != nil {
			return err
		}
		b.add(name+": a signer seen before, revocation left out", again, "µs", 0, false)
		offline, err := each(round, func() error {
			v, err := verification.New(verification.Config{Trust: store, Revocation: ev})
			if err != nil {
				return err
			}
			d, err := v.Open(doc, len(doc))
			if err != nil {
				return err
			}
			o := v.Judge(context.Background(), d, want)
			return o.Verdict.Err()
		})
		if err != nil {
			return err
		}
		b.add(name+": all six checks from nothing, lists and answers read anew", offline, "µs", 0, false)
	}
	return nil
}

// benchJournal measures durable acceptance: many callers share a transaction.
func benchJournal(b *bench) error {
	doc, err := b.benchForm("citizen-01", 0)
	if err != nil {
		return err
	}
	appends, err := appendsWithSync(filepath.Join(b.dir, "appends"), doc, b.n(1000))
	if err != nil {
		return err
	}
	b.add("the limit of one caller: appends with an fsync each", appends, "/s", 0, true)
	for _, callers := range []int{1, 16, 128} {
		dir, err := os.MkdirTemp(b.dir, "journal-")
		if err != nil {
			return err
		}
		store, err := sqlitejournal.Open(sqlitejournal.Config{Dir: dir})
		if err != nil {
			return err
		}
		n := int64(b.n(map[int]int{1: 1000, 16: 8000, 128: 20000}[callers]))
		var next atomic.Int64
		var wg sync.WaitGroup
		failed := make(chan error, callers)
		start := time.Now()
		for range callers {
			wg.Go(func() {
				for i := next.Add(1); i <= n; i = next.Add(1) {
					message := fmt.Sprint(i)
					content := sha256.Sum256([]byte(message))
					_, err := store.Create(context.Background(), journal.New{ID: gateway.NewRequestID("p", message, content), Portal: "p", MessageID: message, Content: content,
						Citizen: journal.CitizenKey(hex.EncodeToString(content[:16])), Service: "s", Shard: "z", Provider: "t", Created: time.Now(), Doc: []byte("{}"), Bodies: map[string][]byte{gateway.BodyRequest: doc}})
					if err != nil {
						failed <- err
						return
					}
				}
			})
		}
		wg.Wait()
		took := time.Since(start)
		select {
		case err := <-failed:
			return err
		default:
		}
		if err := store.Close(); err != nil {
			return err
		}
		os.RemoveAll(dir)
		b.add(fmt.Sprintf("acceptances on disk, %d callers", callers), float64(n)/took.Seconds(), "/s", 0, true)
		b.add(fmt.Sprintf("… times that limit, %d callers", callers), float64(n)/took.Seconds()/appends, "×", 0, true)
	}
	return nil
}

// appendsWithSync returns how often in a second doc can be appended to a file and synced.
func appendsWithSync(name string, doc []byte, n int) (float64, error) {
	f, err := os.Create(name)
	if err != nil {
		return 0, err
	}
	defer os.Remove(name)
	defer f.Close()
	start := time.Now()
	for range n {
		if _, err := f.Write(doc); err != nil {
			return 0, err
		}
		if err := f.Sync(); err != nil {
			return 0, err
		}
	}
	return float64(n) / time.Since(start).Seconds(), nil
}
