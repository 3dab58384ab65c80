package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"golang.org/x/sync/errgroup"

	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/corpus"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
	"egov-gateway/gateway/xmlsig"
)

func inAlphabet[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

// unsupported is the answer of a verifier that cannot take a document; it is counted apart.
const unsupported gateway.Status = "unsupported"

// corpusLine is one line of output of verify --corpus.
type corpusLine struct {
	ID       string           `json:"id"`
	Class    string           `json:"class"`
	Status   gateway.Status   `json:"status"`
	Reason   gateway.Reason   `json:"reason,omitempty"`
	Expected *corpus.Expected `json:"expected"`
	Match    bool             `json:"match"`
	Detail   string           `json:"detail,omitempty"`
	Comment  string           `json:"comment,omitempty"`
}

// A judge says what a verifier says of one document.
type judge func(ctx context.Context, e *corpus.Entry, at time.Time, doc []byte) (corpusLine, error)

// tally counts one class.
type tally struct{ entries, match, accepts, refuses, words, reasons, unsupported int }

// runCorpus judges a whole corpus and writes the score to standard error.
func (v *verifyCmd) runCorpus(out streams) error {
	r, err := corpus.Open(v.Corpus)
	if err != nil {
		return err
	}
	defer r.Close()
	material, clean, err := unpack(r)
	defer clean() // what was unpacked before an error, too
	if err != nil {
		return err
	}
	if v.Jobs <= 0 {
		v.Jobs = runtime.GOMAXPROCS(0)
	}
	ask := v.commandJudge(material)
	if v.Verifier == "" {
		if ask, err = v.ownJudge(material); err != nil {
			return err
		}
	}
	// Whoever interrupts it ends it here, so that what was unpacked is removed.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	start := time.Now()
	classes, err := v.judgeAll(ctx, out, r, ask)
	if err != nil {
		return err
	}
	return score(out, classes, time.Since(start), v.Verifier != "")
}

// task is an entry whose bytes were read.
type task struct {
	e    *corpus.Entry
	doc  []byte
	line corpusLine
	done chan struct{}
}

// judgeAll judges side by side and writes the lines in the order of the manifest.
func (v *verifyCmd) judgeAll(ctx context.Context, out streams, r *corpus.Reader, ask judge) (map[string]*tally, error) {
	bar := progress(out.err, r.Header.Entries, "documents")
	defer bar.Finish() //nolint:errcheck // a picture
	classes := map[string]*tally{}
	g, ctx := errgroup.WithContext(ctx)
	work, order := make(chan *task), make(chan *task, 4*v.Jobs)
	g.Go(func() error {
		defer close(order)
		defer close(work)
		for {
			e, err := r.Next()
			if errors.Is(err, io.EOF) {
				return nil
			}
			if err != nil {
				return err
			}
			if e.Verdict == nil {
				continue // for doors only
			}
			t := &task{e: e, done: make(chan struct{})}
			if t.doc, err = r.Bytes(e.Part, nil); err != nil {
				return err
			}
			for _, ch := range []chan *task{order, work} {
				select {
				case ch <- t:
				case <-ctx.Done():
					return ctx.Err()
				}
			}
		}
	})
	for range v.Jobs {
		g.Go(func() error {
			for t := range work {
				at := cmp.Or(v.At, t.e.At, r.Header.Clock)
				line, err := ask(ctx, t.e, at, t.doc)
				if err != nil {
					return fmt.Errorf("entry %s: %w", t.e.ID, err)
				}
				line.ID, line.Class, line.Expected, line.Comment = t.e.ID, t.e.Class, t.e.Verdict, t.e.Comment
				t.line = line
				t.doc = nil
				close(t.done)
			}
			return nil
		})
	}
	g.Go(func() error {
		enc := json.NewEncoder(out.out)
		enc.SetEscapeHTML(false)
		for t := range order {
			select {
			case <-t.done:
			case <-ctx.Done():
				return ctx.Err()
			}
			bar.Add(1) //nolint:errcheck // a picture
			c := classes[t.e.Class]
			if c == nil {
				c = &tally{}
				classes[t.e.Class] = c
			}
			t.line.Match = c.count(t.line, v.Verifier != "")
			if v.All || !t.line.Match {
				if err := enc.Encode(t.line); err != nil {
					return err
				}
			}
		}
		return nil
	})
	return classes, g.Wait()
}

// count tells what kind of match an answer is. Another verifier has no reasons of ours: of it the
// word alone counts, unless it gives one. Of what cannot be checked the word counts too: which of
// several missing proofs is named is the verifier's choice.
func (c *tally) count(l corpusLine, foreign bool) bool {
	c.entries++
	switch {
	case l.Status == unsupported:
		c.unsupported++
	case l.Status == gateway.Verified && l.Expected.Status != gateway.Verified:
		c.accepts++
	case l.Status != gateway.Verified && l.Expected.Status == gateway.Verified:
		c.refuses++
	case l.Status != l.Expected.Status && !foreign:
		c.words++
	case l.Reason != l.Expected.Reason && l.Expected.Status == gateway.Refused && (!foreign || l.Reason != ""):
		c.reasons++
	default:
		c.match++
		return true
	}
	return false
}

func score(out streams, classes map[string]*tally, took time.Duration, foreign bool) error {
	w := tabwriter.NewWriter(out.err, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(w, "class\tdocuments\tmatch\twrongly accepted\twrongly refused\tother word\tother reason\tunsupported\t")
	var sum tally
	row := func(name string, c *tally) {
		fmt.Fprintf(w, "%s\t%d\t%d\t%d\t%d\t%d\t%d\t%d\t\n", name, c.entries, c.match, c.accepts, c.refuses, c.words, c.reasons, c.unsupported)
	}
	for _, name := range inAlphabet(classes) {
		c := classes[name]
		row(name, c)
		sum = tally{sum.entries + c.entries, sum.match + c.match, sum.accepts + c.accepts, sum.refuses + c.refuses, sum.words + c.words, sum.reasons + c.reasons, sum.unsupported + c.unsupported}
	}
	row("all", &sum)
	if err := w.Flush(); err != nil {
		return err
	}
	judged := sum.entries - sum.unsupported
	fmt.Fprintf(out.err, "%d of %d as expected in %v, %.0f a second", sum.match, judged, took.Round(time.Millisecond), float64(sum.entries)/took.Seconds())
	if foreign && sum.unsupported > 0 {
		fmt.Fprintf(out.err, "; %d are beyond the verifier", sum.unsupported)
	}
	fmt.Fprintln(out.err)
	if sum.match != judged {
		return exitError(exitFailed)
	}
	return nil
}

// trustMaterial are files on disk.
type trustMaterial struct{ trust, untrusted, crls, ocsp []string }

// unpack finds the trust material of a corpus, and puts it on disk when it is not there.
func unpack(r *corpus.Reader) (m trustMaterial, clean func(), err error) {
	clean = func() {}
	dir := ""
	put := func(names []string, into *[]string) error {
		files, err := r.Files(names)
		for _, f := range files {
			p := corpus.Part{File: f}
			if path, ok := r.Path(p); ok {
				*into = append(*into, path)
				continue
			}
			if dir == "" {
				if dir, err = os.MkdirTemp("", "egov-gateway-corpus-"); err != nil {
					return err
				}
				clean = func() { os.RemoveAll(dir) }
			}
			b, err := r.Bytes(p, nil)
			if err != nil {
				return err
			}
			path := filepath.Join(dir, filepath.FromSlash(f))
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, b, 0o600)); err != nil {
				return err
			}
			*into = append(*into, path)
		}
		return err
	}
	h := r.Header
	err = errors.Join(put(h.Trust, &m.trust), put(h.Untrusted, &m.untrusted), put(h.CRLs, &m.crls), put(h.OCSP, &m.ocsp))
	return m, clean, err
}

// ownJudge is the verifier of this program, with the flags of the command line over the corpus' own.
func (v *verifyCmd) ownJudge(m trustMaterial) (judge, error) {
	own := *v
	own.Trust, own.Untrusted = append(own.Trust, m.trust...), append(own.Untrusted, m.untrusted...)
	own.CRL, own.OCSPResponse = append(own.CRL, m.crls...), append(own.OCSPResponse, m.ocsp...)
	if len(own.Trust) == 0 {
		return nil, errors.New("the corpus holds no trusted roots; name them with --trust")
	}
	var w verification.Want
	verifier, err := own.verifier(&w)
	if err != nil {
		return nil, err
	}
	parse := gateway.ParseIIN
	if v.TestAnchor {
		parse = gateway.ParseTestIIN
	}
	return func(ctx context.Context, e *corpus.Entry, at time.Time, doc []byte) (corpusLine, error) {
		w := w
		w.At, w.Purpose = at, trust.Purpose(cmp.Or(e.Purpose, v.Purpose))
		if e.IIN != "" {
			var err error
			if w.Citizen, err = parse(e.IIN); err != nil {
				return corpusLine{}, err
			}
		}
		o := verification.Outcome{}
		opened, err := verifier.OpenAs(doc, v.MaxBytes, xmlsig.Profile(cmp.Or(e.Profile, v.Profile)))
		if err != nil {
			o = verification.SignatureFailed(err, at)
		} else {
			o = verifier.Judge(ctx, opened, w)
		}
		return corpusLine{Status: o.Verdict.Status, Reason: o.Verdict.Reason, Detail: o.Verdict.Detail}, nil
	}, nil
}

// verifierTimeout bounds one call of another verifier.
const verifierTimeout = 30 * time.Second

// commandJudge asks a command, as CORPUS.md says.
func (v *verifyCmd) commandJudge(m trustMaterial) judge {
	env := append(os.Environ(), "CORPUS_TRUST="+strings.Join(append(m.trust, v.Trust...), "\n"), "CORPUS_UNTRUSTED="+strings.Join(append(m.untrusted, v.Untrusted...), "\n"),
		"CORPUS_CRLS="+strings.Join(m.crls, "\n"), "CORPUS_OCSP="+strings.Join(m.ocsp, "\n"))
	command := strings.Fields(v.Verifier)
	return func(ctx context.Context, e *corpus.Entry, at time.Time, doc []byte) (l corpusLine, err error) {
		f, err := os.CreateTemp("", "egov-gateway-document-*.xml")
		if err != nil {
			return l, err
		}
		name := f.Name()
		defer os.Remove(name)
		_, err = f.Write(doc)
		if err := errors.Join(err, f.Close()); err != nil {
			return l, err
		}
		ctx, cancel := context.WithTimeout(ctx, verifierTimeout)
		defer cancel()
		cmd := exec.CommandContext(ctx, command[0], append(command[1:len(command):len(command)], name)...)
		cmd.Env = append(env[:len(env):len(env)], "CORPUS_AT="+at.UTC().Format(time.RFC3339), "CORPUS_IIN="+e.IIN, "CORPUS_PURPOSE="+e.Purpose,
			"CORPUS_PROFILE="+cmp.Or(e.Profile, "document"), "CORPUS_ALGORITHM="+e.Algorithm)
		answer, err := cmd.Output()
		if _, exited := errors.AsType[*exec.ExitError](err); err != nil && !exited {
			return l, fmt.Errorf("the verifier %s: %w", command[0], err)
		}
		for line := range strings.SplitSeq(string(answer), "\n") {
			if strings.HasPrefix(line, "{") && json.Unmarshal([]byte(line), &l) == nil && l.Status != "" {
				return l, nil
			}
		}
		words := []gateway.Status{gateway.Verified, gateway.Refused, gateway.Indeterminate, unsupported}
		code := cmd.ProcessState.ExitCode()
		if code < 0 || code >= len(words) {
			return l, fmt.Errorf("the verifier %s ended with %d; 0 to 3 are expected", command[0], code)
		}
		l.Status = words[code]
		return l, nil
	}
}
