package main

import (
	"bytes"
	"crypto"
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"runtime"
	"time"

	"github.com/schollz/progressbar/v3"
	"golang.org/x/crypto/ocsp"

	"egov-gateway/adapters/statesim"
	"egov-gateway/adapters/statesim/testworld"
	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/harness/mint"
)

type corpusCmd struct {
	Generate corpusGenerateCmd `cmd:"" help:"Make a corpus of signed requests with what must become of each, or a conformance kit for verifiers. TEST ONLY keys."`
	Check    corpusCheckCmd    `cmd:"" help:"Read a corpus from front to end and say what is in it."`
	Adapter  corpusAdapterCmd  `cmd:"" help:"Print the script through which verify scores another verifier."`
}

// corpusClock is the default clock of a corpus: 10:00 on an ordinary Monday in Almaty.
var corpusClock = time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)

// corpusLasts is how long after the clock the passports still take the requests (created_at), less
// the ten minutes over which they are spread.
const corpusLasts = 71 * time.Hour

type corpusGenerateCmd struct {
	Out      string    `arg:"" type:"path" help:"Where to: a new folder, or a file that ends in .zip."`
	Entries  int       `short:"n" default:"1000" placeholder:"N" help:"How many, or a few more. A kit has at least 5000."`
	Kit      bool      `help:"A conformance kit: documents for verifiers, with trust material and revocation evidence inside, in place of requests for doors."`
	Seed     uint64    `default:"1" help:"Decides what is made; the same seed makes the same choice."`
	Clock    time.Time `format:"2006-01-02T15:04:05Z07:00" placeholder:"RFC3339" help:"The instant for which the expectations hold. Default: 2026-11-23T05:00:00Z."`
	Citizens int       `default:"0" placeholder:"N" help:"From how many people requests come; default: those of the test PKI. Requests of one person are worked on one after the other, so load needs many."`
	Loose    bool      `help:"A file for each document instead of packs."`
	Jobs     int       `default:"0" placeholder:"N" help:"Documents made side by side; default: one for each processor."`
}

// kitEntries is how many documents a kit has at least.
const kitEntries = 5000

// Run makes the corpus. What was begun and not finished is no corpus: the header comes last.
func (g *corpusGenerateCmd) Run(out streams) error {
	if g.Clock.IsZero() {
		g.Clock = corpusClock
	}
	g.Clock = g.Clock.UTC().Truncate(time.Second)
	if g.Jobs <= 0 {
		g.Jobs = runtime.GOMAXPROCS(0)
	}
	if g.Kit {
		g.Entries = max(g.Entries, kitEntries)
	}
	pki, err := testpki.Load()
	if err != nil {
		return err
	}
	gen, err := mint.New(mint.Config{PKI: pki, Clock: g.Clock, Seed: g.Seed, Citizens: g.Citizens})
	if err != nil {
		return err
	}
	w, err := corpus.Create(g.Out)
	if err != nil {
		return err
	}
	w.Loose = g.Loose
	h := corpus.Header{Clock: g.Clock, Seed: g.Seed, Comment: "TEST ONLY: made-up people, public keys."}
	m := &corpusMaking{w: w, pki: pki, h: &h, shared: map[[32]byte]corpus.Part{}}
	if err := m.material(gen.Untrusted()); err != nil {
		return err
	}
	bar := progress(out.err, int64(g.Entries), "documents")
	if g.Kit {
		err = gen.Trials(g.Entries, func(t mint.Trial) error { bar.Add(1); return m.trial(t) }) //nolint:errcheck // a picture
	} else {
		h.Lasts = corpus.Duration(corpusLasts)
		err = gen.Requests(g.Entries, g.Jobs, func(r mint.Request) error { bar.Add(1); return m.request(r) }) //nolint:errcheck // a picture
	}
	bar.Finish() //nolint:errcheck // a picture
	if err != nil {
		return err
	}
	if err := w.Finish(h); err != nil {
		return err
	}
	fmt.Fprintf(out.out, "TEST ONLY: %s has %d entries for the clock %s\n", g.Out, m.n, h.Clock.Format(time.RFC3339))
	return nil
}

// progress draws over its own line of a terminal and leaves nothing behind; a file gets nothing.
func progress(out io.Writer, total int64, what string) *progressbar.ProgressBar {
	f, ok := out.(*os.File)
	if ok {
		info, err := f.Stat()
		ok = err == nil && info.Mode()&os.ModeCharDevice != 0
	}
	return progressbar.NewOptions64(total, progressbar.OptionSetVisibility(ok), progressbar.OptionSetWriter(out), progressbar.OptionSetDescription(what), progressbar.OptionClearOnFinish(), progressbar.OptionShowCount(),
		progressbar.OptionShowIts(), progressbar.OptionSetItsString(what), progressbar.OptionThrottle(200*time.Millisecond), progressbar.OptionSetPredictTime(true))
}

// corpusMaking is a corpus that is being written.
type corpusMaking struct {
	w      *corpus.Writer
	pki    *testpki.PKI
	h      *corpus.Header
	n      int
	shared map[[32]byte]corpus.Part
}

// trusted are the entries of the test PKI that a verifier is told.
var trustedRoots, trustedIssuers = []string{"root", "gost-root"}, []string{"issuing", "gost-issuing", "issuing-revoked"}

// material writes anchors, issuing CAs, lists and answers of the corpus' clock.
func (m *corpusMaking) material(more [][]byte) error {
	add := func(list *[]string, folder, name string, data []byte) error {
		if len(*list) == 0 {
			*list = []string{folder}
		}
		_, err := m.w.File(folder+"/"+name, data)
		return err
	}
	var errs []error
	for _, id := range trustedRoots {
		errs = append(errs, add(&m.h.Trust, "trust", id+".pem", m.pki.Must(id).CertificatePEM))
	}
	for _, id := range trustedIssuers {
		errs = append(errs, add(&m.h.Untrusted, "untrusted", id+".pem", m.pki.Must(id).CertificatePEM))
	}
	for i, c := range more {
		errs = append(errs, add(&m.h.Untrusted, "untrusted", fmt.Sprintf("made-%02d.pem", i), pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c})))
	}
	lists, answers, err := evidenceAt(m.pki, m.h.Clock)
	if err != nil {
		return err
	}
	for name, b := range lists {
		errs = append(errs, add(&m.h.CRLs, "crls", name+".crl", b))
	}
	for name, b := range answers {
		errs = append(errs, add(&m.h.OCSP, "ocsp", name+".der", b))
	}
	return errors.Join(errs...)
}

// evidenceAt asks the simulated authorities for what they say at that instant.
func evidenceAt(pki *testpki.PKI, at time.Time) (lists, answers map[string][]byte, err error) {
	wc, err := testworld.Config(pki, "http://127.0.0.1")
	if err != nil {
		return nil, nil, err
	}
	wc.Now = func() time.Time { return at }
	world, err := statesim.New(wc)
	if err != nil {
		return nil, nil, err
	}
	door := world.Handler()
	ask := func(method, path string, body []byte) ([]byte, error) {
		req, err := http.NewRequest(method, "http://127.0.0.1"+path, bytes.NewReader(body))
		if err != nil {
			return nil, err
		}
		req.Header.Set("Content-Type", "application/ocsp-request")
		rec := answerRecorder{header: http.Header{}, status: http.StatusOK}
		door.ServeHTTP(&rec, req)
		if rec.status != http.StatusOK {
			return nil, fmt.Errorf("the simulated authority answers %d to %s", rec.status, path)
		}
		return rec.body.Bytes(), nil
	}
	lists, answers = map[string][]byte{}, map[string][]byte{}
	for _, ca := range []string{"root", "issuing", "gost-root", "gost-issuing"} {
		if lists[ca], err = ask(http.MethodGet, "/crl/"+ca+"/base.crl", nil); err != nil {
			return nil, nil, err
		}
	}
	// Lists say it of all but those that were never issued.
	for _, e := range pki.Entries() {
		if e.Status.State != testpki.NeverIssued {
			continue
		}
		question, err := ocsp.CreateRequest(e.X509(), pki.Must(e.Issuer).X509(), &ocsp.RequestOptions{Hash: crypto.SHA256})
		if err != nil {
			return nil, nil, err
		}
		if answers[e.ID], err = ask(http.MethodPost, "/ocsp", question); err != nil {
			return nil, nil, err
		}
	}
	return lists, answers, nil
}

// answerRecorder keeps what a handler answers.
type answerRecorder struct {
	header http.Header
	status int
	body   bytes.Buffer
}

func (r *answerRecorder) Header() http.Header         { return r.header }
func (r *answerRecorder) WriteHeader(s int)           { r.status = s }
func (r *answerRecorder) Write(b []byte) (int, error) { return r.body.Write(b) }

func (m *corpusMaking) trial(t mint.Trial) error {
	id := fmt.Sprintf("%08d", m.n)
	part, err := m.w.Document(id, t.Document)
	if err != nil {
		return err
	}
	m.n++
	return m.w.Add(corpus.Entry{ID: id, Part: part, Class: t.Class, Comment: t.Comment, Algorithm: t.Algorithm, At: t.At, IIN: t.IIN, Purpose: t.Purpose, Profile: t.Profile, Verdict: mint.Verdict(t.Want)})
}

func (m *corpusMaking) request(r mint.Request) (err error) {
	e := r.Entry
	if e.Part, err = m.w.Document(e.ID, r.Document); err != nil {
		return err
	}
	for _, d := range r.Attachments {
		sum := sha256.Sum256(d.Data)
		part, ok := m.shared[sum]
		if !ok {
			if part, err = m.w.File("attachments/"+hex.EncodeToString(sum[:8]), d.Data); err != nil {
				return err
			}
			m.shared[sum] = part
		}
		e.Attachments = append(e.Attachments, corpus.Attachment{Name: d.Name, MediaType: d.MediaType, Part: part})
	}
	m.n++
	return m.w.Add(e)
}

type corpusCheckCmd struct {
	Corpus string `arg:"" type:"path" help:"Folder or zip file."`
}

// Run reads every entry and every byte.
func (c *corpusCheckCmd) Run(out streams) error {
	r, err := corpus.Open(c.Corpus)
	if err != nil {
		return err
	}
	defer r.Close()
	classes := map[string]int{}
	var n, size int64
	var buf []byte
	for {
		e, err := r.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		for _, p := range e.Parts() {
			if buf, err = r.Bytes(p, buf); err != nil {
				return fmt.Errorf("entry %s: %w", e.ID, err)
			}
			size += int64(len(buf))
		}
		n++
		classes[e.Class]++
	}
	if n != r.Header.Entries {
		return fmt.Errorf("corpus %s: the header tells of %d entries, there are %d", c.Corpus, r.Header.Entries, n)
	}
	fmt.Fprintf(out.out, "%d entries, %d bytes, clock %s\n", n, size, r.Header.Clock.Format(time.RFC3339))
	for _, class := range inAlphabet(classes) {
		fmt.Fprintf(out.out, "%7d  %s\n", classes[class], class)
	}
	return nil
}

//go:embed xmlsec1.sh
var xmlsec1Adapter []byte

type corpusAdapterCmd struct {
	Verifier string `arg:"" enum:"xmlsec1" help:"Which one (${enum})."`
	Out      string `type:"path" placeholder:"FILE" help:"Write an executable file instead of standard output."`
}

// Run prints the script.
func (c *corpusAdapterCmd) Run(out streams) error {
	if c.Out != "" {
		return os.WriteFile(c.Out, xmlsec1Adapter, 0o700)
	}
	_, err := out.out.Write(xmlsec1Adapter)
	return err
}
