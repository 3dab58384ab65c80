package main

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/harness/mint"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/xmlsig"
)

type recordCmd struct {
	Config  string `required:"" type:"path" placeholder:"FILE" help:"Configuration file (YAML) of the gateway."`
	Out     string `required:"" type:"path" placeholder:"DIR_OR_ZIP" help:"The corpus to write; it is whole when the gateway has ended."`
	Entries int64  `default:"10000" placeholder:"N" help:"Record that many requests, then only serve."`
}

// recordAhead bounds the traces that wait to be written; beyond, requests are counted as lost to
// the recording, never held up.
const recordAhead = 4096

// A recorder writes a corpus of requests like those at the doors. Of a request it keeps a
// [mint.Trace], codes and counts; the document in the corpus is made anew, of test identities and
// signed with test keys. Nothing that a citizen wrote is copied, so nothing personal can leave.
type recorder struct {
	traces chan recordedTrace
	seed   maphash.Seed // of this recording: who is the same person as who
	seen   atomic.Int64
	limit  int64
	lost   atomic.Int64
	done   chan error

	recorded, skipped map[gateway.Reason]int64
}

// A recordedTrace is known when a document of the shipped forms can stand for it.
type recordedTrace struct {
	mint.Trace
	known bool
}

// Run serves like serve, and records.
func (r *recordCmd) Run(out streams) (err error) {
	c, err := LoadConfig(r.Config)
	if err != nil {
		return err
	}
	now, err := c.Clock.shifted(time.Now)
	if err != nil {
		return err
	}
	rec, err := newRecorder(r.Out, now().UTC().Truncate(time.Second), r.Entries)
	if err != nil {
		return err
	}
	c.taken = rec.taken
	err = c.serve(out, nil, nil)
	if rerr := rec.finish(); err == nil {
		err = rerr
	}
	for _, reason := range slices.Sorted(maps.Keys(rec.recorded)) {
		fmt.Fprintf(out.err, "%7d  recorded  %s\n", rec.recorded[reason], label(reason, "accepted"))
	}
	for _, reason := range slices.Sorted(maps.Keys(rec.skipped)) {
		fmt.Fprintf(out.err, "%7d  counted only: no document provokes it, or its form is unknown  %s\n", rec.skipped[reason], label(reason, "accepted"))
	}
	if n := rec.lost.Load(); n > 0 {
		fmt.Fprintf(out.err, "%7d  not recorded: the gateway had more to do\n", n)
	}
	return err
}

func newRecorder(name string, clock time.Time, limit int64) (*recorder, error) {
	pki, err := testpki.Load()
	if err != nil {
		return nil, err
	}
	gen, err := mint.New(mint.Config{PKI: pki, Clock: clock, Seed: uint64(clock.Unix())})
	if err != nil {
		return nil, err
	}
	w, err := corpus.Create(name)
	if err != nil {
		return nil, err
	}
	h := corpus.Header{Clock: clock, Lasts: corpus.Duration(corpusLasts), Comment: "TEST ONLY: recorded; made-up people, public keys."}
	m := &corpusMaking{w: w, pki: pki, h: &h, shared: map[[32]byte]corpus.Part{}}
	if err := m.material(nil); err != nil {
		return nil, err
	}
	r := &recorder{traces: make(chan recordedTrace, recordAhead), seed: maphash.MakeSeed(), limit: limit, done: make(chan error, 1), recorded: map[gateway.Reason]int64{}, skipped: map[gateway.Reason]int64{}}
	go func() {
		var failure error
		n := 0
		for t := range r.traces {
			if failure != nil {
				continue
			}
			all, ok, err := gen.Like(t.Trace, n)
			n++
			if err == nil && (!ok || !t.known) {
				r.skipped[t.Reason]++
				continue
			}
			for _, q := range all {
				err = errors.Join(err, m.request(q))
			}
			r.recorded[t.Reason]++
			failure = err
		}
		if failure == nil {
			failure = w.Finish(h)
		}
		r.done <- failure
	}()
	return r, nil
}

// finish writes what is left.
func (r *recorder) finish() error {
	close(r.traces)
	return <-r.done
}

// taken keeps a trace of a submission. It never waits.
func (r *recorder) taken(s intake.Submission, err error) {
	if r.seen.Add(1) > r.limit {
		return
	}
	t, known := traceOf(s, gateway.ReasonOf(err), r.seed)
	select {
	case r.traces <- recordedTrace{t, known}:
	default:
		r.lost.Add(1)
	}
}

var (
	tenures       = []string{"owned", "rented-public", "rented-private"}
	documentKinds = []string{"family-income", "maintenance-bill", "utilities-bill", "telecom-bill", "rent-bill", "power-of-attorney"}
)

// traceOf reads codes of closed lists and counts; false for an accepted form that is not one of
// the shipped services'.
func traceOf(s intake.Submission, reason gateway.Reason, seed maphash.Seed) (mint.Trace, bool) {
	t := mint.Trace{Reason: reason, Door: corpus.REST, Algorithm: mint.RSA, Bytes: len(s.Document), Language: "kk", Tenure: "owned"}
	if strings.HasPrefix(s.Door, "shep") {
		t.Door = corpus.SHEP
	}
	if reason != "" {
		return t, true
	}
	doc, err := xmlsig.Scan(s.Document, xmlsig.Limits{MaxBytes: len(s.Document)})
	if err != nil {
		return t, false
	}
	defer doc.Release()
	root := doc.Root()
	oneOf := func(path string, list []string, into *string) {
		if v, ok := passport.Field(root, path); ok && slices.Contains(list, v) {
			*into = v
		}
	}
	oneOf("language", []string{"kk", "ru", "en"}, &t.Language)
	oneOf("serviceCode", []string{"housing-aid", "complaint"}, &t.Service)
	oneOf("housing/tenure", tenures, &t.Tenure)
	kato, _ := passport.Field(root, "provider/territory")
	if len(kato) == 9 && strings.Trim(kato[:4], "0123456789") == "" {
		t.District = kato[:4]
	}
	if family, ok := root.Child(root.Space(), "family"); ok {
		for range family.Children() {
			t.Family++
		}
	}
	_, t.Representative = root.Child(root.Space(), "representative")
	if list, ok := root.Child(root.Space(), "attachments"); ok {
		for a := range list.Children() {
			kind, _ := a.Child(root.Space(), "kind")
			if i := slices.Index(documentKinds, kind.Text()); i >= 0 {
				t.Documents = append(t.Documents, documentKinds[i])
			}
		}
	}
	for sig := range root.Children() {
		if sig.Local() == "Signature" && strings.Contains(string(sig.Source()), xmlsig.GOST2015) {
			t.Algorithm = mint.GOST
		}
	}
	iin, _ := passport.Field(root, "applicant/iin")
	t.Person = int(maphash.String(seed, iin) >> 40)
	return t, t.Service != "" && t.District != ""
}
