package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"time"

	"github.com/schollz/progressbar/v3"

	"egov-gateway/adapters/statesim"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/intake"
)

type demoCmd struct {
	Once    bool   `help:"Stop after the requests; exit 0 only if every outcome was the expected one."`
	Dir     string `type:"path" help:"Where to keep the gateway's data; default: a temporary folder, removed at the end."`
	Regions bool   `help:"Three gateways: the portal's, which relays, and those of two regions, which deliver; shows requests crossing them."`
	Log     string `type:"path" help:"Write the gateway's log (JSON) to this file."`
}

// demoTimeout bounds the walk; it usually takes a few seconds.
const demoTimeout = 2 * time.Minute

// demoStart is a Friday evening, after hours.
var demoStart = time.Date(2026, 11, 20, 14, 30, 0, 0, time.UTC) // 19:30 in Almaty

// A scene is one request of the demonstration and what must become of it.
type scene struct {
	title   string
	prepare func(*lab) error
	send    func(*lab) (answer, error)
	// reason expected at the door; "" is accepted.
	reason gateway.Reason
	// result expected in the end, of an accepted request; "" means it stays with the provider.
	result    gateway.ResultKind
	ground    string
	duplicate bool // the same receipt as an earlier scene: no request of its own

	got answer
}

// An answer is what the door said.
type answer struct {
	status  int
	receipt intake.Receipt
	problem intake.Problem
	body    []byte
}

// Run walks the scenes, then serves until interrupted.
func (d *demoCmd) Run(out streams) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	dir := d.Dir
	if dir == "" {
		var err error
		if dir, err = os.MkdirTemp("", "egov-gateway-demo-"); err != nil {
			return err
		}
		defer os.RemoveAll(dir)
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	log := slog.New(slog.DiscardHandler)
	if d.Log != "" {
		f, err := os.Create(d.Log)
		if err != nil {
			return err
		}
		defer f.Close()
		log = slog.New(slog.NewJSONHandler(f, nil))
	}
	fmt.Fprintln(out.out, "TEST ONLY: keys, people and state systems of this demonstration are made up.")
	if d.Regions {
		return d.runRegions(ctx, dir, log, out.out)
	}
	l, err := newLab(dir, demoStart, map[string]statesim.Level{"citizen-02": statesim.High, "citizen-03": statesim.Mistaken, "citizen-06": statesim.Jobless}, log)
	if err != nil {
		return err
	}
	defer l.Close()
	// The first scene finds no revocation evidence anywhere.
	if err := errors.Join(l.world.SetFaults(statesim.TargetOCSP, statesim.Fault{Kind: statesim.Unavailable}), l.world.SetFaults(statesim.TargetCRL, statesim.Fault{Kind: statesim.Unavailable})); err != nil {
		return err
	}
	l.tokenNow = time.Now
	if err := l.startGateway(); err != nil {
		return err
	}
	fmt.Fprintf(out.out, "gateway %s · admin %s · simulator %s\n\n", l.base, l.admin, l.sim)
	wrong, err := walk(ctx, l, out.out)
	if err != nil {
		return err
	}
	if wrong > 0 {
		fmt.Fprintf(out.out, "\n%d outcomes were not the expected ones\n", wrong)
		return exitError(exitFailed)
	}
	fmt.Fprintln(out.out, "\nevery outcome was the expected one")
	if d.Once {
		return nil
	}
	portal, err := l.servePortal()
	if err != nil {
		return err
	}
	fmt.Fprintf(out.out, "\nportal   %s (sign in as one of the citizens, password %s)\ncabinet  %s/cabinet/ (the portal opens it)\nconsole  %s (token %s)\nmetrics  %s/metrics\nready    %s/readyz\nCtrl-C ends the demonstration.\n",
		portal, demoPassword, l.base, l.console, l.operator, l.admin, l.admin)
	go l.world.Run(ctx) //nolint:errcheck // ends with ctx
	<-ctx.Done()
	return nil
}

func walk(ctx context.Context, l *lab, out io.Writer) (wrong int, err error) {
	ctx, cancel := context.WithTimeout(ctx, demoTimeout)
	defer cancel()
	scenes := demoScenes()
	zone := time.FixedZone("Almaty", 5*3600)
	fmt.Fprintf(out, "%3s  %-62s %-34s %s\n", "", "request", "at the door", "registered → due")
	for i := range scenes {
		s := &scenes[i]
		if s.prepare != nil {
			if err := s.prepare(l); err != nil {
				return 0, fmt.Errorf("%s: %w", s.title, err)
			}
		}
		if s.got, err = s.send(l); err != nil {
			return 0, fmt.Errorf("%s: %w", s.title, err)
		}
		door, ok := doorWord(s.got), s.got.problem.Reason == s.reason
		if s.reason == "" {
			ok = s.got.status == http.StatusAccepted
		}
		times := ""
		if s.got.status == http.StatusAccepted {
			times = s.got.receipt.RegisteredAt.In(zone).Format("Mon 02.01 15:04") + " → " + s.got.receipt.DueAt.In(zone).Format("Mon 02.01 15:04")
		}
		if !ok {
			wrong++
			door += " ← expected " + string(s.reason)
		}
		fmt.Fprintf(out, "%3d  %-62s %-34s %s\n", i+1, s.title, door, times)
	}
	fmt.Fprintln(out)
	last := demoStart
	for i := range scenes {
		if t := scenes[i].got.receipt.DueAt; t.After(last) {
			last = t
		}
	}
	total := int64(last.Sub(l.clock.Now()) / time.Minute)
	bar := progressbar.NewOptions64(total, progressbar.OptionSetWriter(out), progressbar.OptionSetDescription("days pass at the providers"), progressbar.OptionClearOnFinish(), progressbar.OptionSetPredictTime(false), progressbar.OptionThrottle(50*time.Millisecond))
	begin := l.clock.Now()
	err = l.pass(ctx, func() bool { return settled(l, scenes) }, func(now time.Time) {
		bar.Set64(min(int64(now.Sub(begin)/time.Minute), total)) //nolint:errcheck // a picture
	})
	bar.Finish() //nolint:errcheck // a picture
	if err != nil {
		return wrong, err
	}
	fmt.Fprintf(out, "%3s  %-62s %-12s %s\n", "", "accepted request", "state", "in the cabinet")
	for i := range scenes {
		s := &scenes[i]
		if s.got.status != http.StatusAccepted || s.duplicate {
			continue
		}
		p, err := l.progress(s.got.receipt.ID)
		if err != nil {
			return wrong, err
		}
		word := resultWord(p)
		if !s.asExpected(p) {
			wrong++
			word += " ← expected " + string(s.result) + " " + s.ground
		}
		fmt.Fprintf(out, "%3d  %-62s %-12s %s\n", i+1, s.title, p.State, word)
	}
	return wrong, nil
}

func (s *scene) asExpected(p intake.Progress) bool {
	if s.result == "" {
		return p.Result == nil && p.State == gateway.StateDelivered
	}
	return p.Result != nil && p.Result.Kind == s.result && p.Result.Ground == s.ground && p.Result.Verdict.Status == gateway.Verified && p.State == gateway.StateClosed
}

func doorWord(a answer) string {
	if a.status == http.StatusAccepted {
		return "202 accepted " + string(a.receipt.ID)[:8]
	}
	return fmt.Sprintf("%d %s", a.status, a.problem.Reason)
}

func resultWord(p intake.Progress) string {
	switch {
	case p.Result == nil:
		for _, e := range p.Timeline {
			if e.Kind == gateway.EventQuarantined {
				return "nothing: the result did not verify (" + string(e.Reason) + ")"
			}
		}
		return "nothing yet"
	case p.Result.Kind == gateway.ResultAssignment:
		return "assignment, " + p.Result.Amount + " ₸ a month, signature verified"
	}
	if p.Result.Kind == gateway.ResultAnswer {
		return "answer, " + p.Result.Outcome + ", registered as " + p.Steps[0].Registration.Number + ", signature verified"
	}
	return "reasoned refusal, " + p.Result.Ground + ", signature verified"
}

// settled reports whether every accepted request is where it must end, or can be no further.
func settled(l *lab, scenes []scene) bool {
	for i := range scenes {
		s := &scenes[i]
		if s.got.status != http.StatusAccepted || s.duplicate {
			continue
		}
		p, err := l.progress(s.got.receipt.ID)
		if err != nil {
			return false
		}
		if s.result != "" && p.State != gateway.StateClosed {
			return false
		}
		if s.result == "" && !strings.Contains(resultWord(p), "did not verify") {
			return false
		}
	}
	return true
}

// post sends a body to the portal's door as the portal.
func (l *lab) post(contentType string, body []byte, header map[string]string) (answer, error) {
	req, err := http.NewRequest(http.MethodPost, l.base+"/v1/requests", bytes.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	req.Header.Set("Content-Type", contentType)
	req.Header.Set("Authorization", "Bearer "+l.token)
	for k, v := range header {
		req.Header.Set(k, v)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return answer{}, err
	}
	defer resp.Body.Close()
	a := answer{status: resp.StatusCode}
	if a.body, err = io.ReadAll(resp.Body); err != nil {
		return a, err
	}
	switch {
	case resp.StatusCode == http.StatusAccepted && strings.HasPrefix(resp.Header.Get("Content-Type"), "application/json"):
		err = json.Unmarshal(a.body, &a.receipt)
	case resp.StatusCode != http.StatusAccepted:
		err = json.Unmarshal(a.body, &a.problem)
	}
	if err != nil {
		return a, fmt.Errorf("%d %s: %w", resp.StatusCode, a.body, err)
	}
	return a, nil
}

// submit signs a draft and sends it with its documents.
func (l *lab) submit(d harness.Draft, signer string) (answer, error) {
	key, err := l.key(signer)
	if err != nil {
		return answer{}, err
	}
	signed, err := d.Sign(key)
	if err != nil {
		return answer{}, err
	}
	return l.submitSigned(signed, d.Documents)
}

func (l *lab) submitSigned(signed []byte, docs []harness.Document) (answer, error) {
	if len(docs) == 0 {
		return l.post("application/xml", signed, nil)
	}
	contentType, body := harness.Multipart(signed, docs)
	return l.post(contentType, body, nil)
}

func (l *lab) progress(id gateway.RequestID) (p intake.Progress, err error) {
	req, err := http.NewRequest(http.MethodGet, l.base+"/v1/requests/"+string(id), nil)
	if err != nil {
		return p, err
	}
	req.Header.Set("Authorization", "Bearer "+l.token)
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return p, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return p, fmt.Errorf("GET /v1/requests/%s: %s", id, resp.Status)
	}
	return p, json.NewDecoder(resp.Body).Decode(&p)
}

func demoScenes() []scene {
	send := func(citizen, signer, territory string, change func(*harness.Draft)) func(*lab) (answer, error) {
		return func(l *lab) (answer, error) {
			d := l.draft(citizen, territory)
			if change != nil {
				change(&d)
			}
			return l.submit(d, signer)
		}
	}
	plain := func(citizen, territory string) func(*lab) (answer, error) {
		return send(citizen, citizen, territory, nil)
	}
	clear := func(targets ...string) func(*lab) error {
		return func(l *lab) error {
			for _, t := range targets {
				if err := l.world.SetFaults(t); err != nil {
					return err
				}
			}
			return l.svc.checker.Refresh(context.Background())
		}
	}
	fault := func(target string, f statesim.Fault) func(*lab) error {
		return func(l *lab) error { return l.world.SetFaults(target, f) }
	}
	var first []byte // the signed bytes of a request that is sent again
	var firstDraft harness.Draft
	return []scene{
		{title: "no revocation evidence can be had: the portal tries again", send: plain("citizen-01", petropavl), reason: gateway.StatusUnavailable},
		{title: "after hours, Friday 19:30: registered on Monday", prepare: clear(statesim.TargetOCSP, statesim.TargetCRL), send: plain("citizen-01", petropavl), result: gateway.ResultAssignment},
		{title: "in working hours, Petropavl, GOST key", prepare: func(l *lab) error {
			l.clock.HopTo(time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC))
			return l.svc.checker.Refresh(context.Background())
		}, send: func(l *lab) (answer, error) {
			key, err := l.key("gost-citizen-01")
			if err != nil {
				return answer{}, err
			}
			firstDraft = l.draft("gost-citizen-01", petropavl)
			firstDraft.MessageID = harness.NewMessageID()
			if first, err = firstDraft.Sign(key); err != nil {
				return answer{}, err
			}
			return l.submitSigned(first, firstDraft.Documents)
		}, result: gateway.ResultAssignment},
		{title: "the same again: the first receipt", send: func(l *lab) (answer, error) { return l.submitSigned(first, firstDraft.Documents) }, duplicate: true},
		{title: "the same message id with other content", send: func(l *lab) (answer, error) {
			d := firstDraft
			d.MonthlyCost = 99000
			return l.submit(d, "gost-citizen-01")
		}, reason: gateway.ReplayConflict},
		{title: "Taraz, income too high: reasoned refusal", send: plain("citizen-02", taraz), result: gateway.ResultRefusal, ground: "income-above-threshold"},
		{title: "Taraz, another name in the register: reasoned refusal", send: plain("citizen-03", taraz), result: gateway.ResultRefusal, ground: "data-unreliable"},
		{title: "the OCSP responder is away: the CRL proves it", prepare: fault(statesim.TargetOCSP, statesim.Fault{Kind: statesim.Unavailable}), send: plain("citizen-06", taraz), result: gateway.ResultAssignment},
		{title: "a state system is away and comes back", prepare: func(l *lab) error {
			return errors.Join(clear(statesim.TargetOCSP)(l), l.world.SetFaults("gbdrn", statesim.Fault{Kind: statesim.Unavailable, Calls: 4}))
		}, send: plain("citizen-05", taraz), result: gateway.ResultAssignment},
		{title: "a complaint: another service, by its passport alone", send: send("citizen-08", "citizen-08", petropavl, func(d *harness.Draft) {
			d.Documents, d.Complaint = nil, "Тұрғын үй көмегі туралы өтінішім қаралмады."
		}), result: gateway.ResultAnswer},
		{title: "changed after it was signed", send: func(l *lab) (answer, error) {
			key, err := l.key("citizen-05")
			if err != nil {
				return answer{}, err
			}
			signed, err := l.draft("citizen-05", taraz).Sign(key)
			if err != nil {
				return answer{}, err
			}
			return l.submitSigned(bytes.Replace(signed, []byte("21000"), []byte("91000"), 1), nil)
		}, reason: gateway.DigestMismatch},
		{title: "signed by somebody else", send: send("citizen-05", "citizen-07", taraz, nil), reason: gateway.IINMismatch},
		{title: "certificate expired", send: plain("citizen-expired", taraz), reason: gateway.CertificateExpired},
		{title: "certificate not yet valid", send: plain("citizen-not-yet-valid", taraz), reason: gateway.CertificateNotYetValid},
		{title: "certificate revoked", send: plain("citizen-revoked", taraz), reason: gateway.Revoked},
		{title: "certificate revoked, GOST", send: plain("gost-citizen-revoked", taraz), reason: gateway.Revoked},
		{title: "certificate suspended", send: plain("citizen-suspended", taraz), reason: gateway.Suspended},
		{title: "authentication key", send: plain("citizen-authentication", taraz), reason: gateway.KeyUsage},
		{title: "certificate of an authority nobody trusts", send: plain("citizen-other-ca", taraz), reason: gateway.NoIssuer},
		{title: "no consent to fetch records", send: send("citizen-07", "citizen-07", taraz, func(d *harness.Draft) { d.NoConsent = true }), reason: gateway.ConsentMissing},
		{title: "an attached copy is not the one that was signed", send: func(l *lab) (answer, error) {
			key, err := l.key("citizen-07")
			if err != nil {
				return answer{}, err
			}
			d := l.draft("citizen-07", petropavl)
			signed, err := d.Sign(key)
			if err != nil {
				return answer{}, err
			}
			docs := append([]harness.Document(nil), d.Documents...)
			docs[1].Data = harness.PDF("another bill")
			return l.submitSigned(signed, docs)
		}, reason: gateway.AttachmentDigest},
		{title: "a territory that nobody serves", send: send("citizen-07", "citizen-07", "750000000", nil), reason: gateway.TerritoryUnknown},
		{title: "a wrong bank account number", send: send("citizen-07", "citizen-07", taraz, func(d *harness.Draft) { d.IBAN = "KZ87125KZT5004100100" }), reason: gateway.FormInvalid},
		{title: "the result is signed by another organisation", prepare: fault("kordaj", statesim.Fault{Kind: statesim.ForeignBIN}), send: plain("citizen-07", kordaj)},
	}
}
