package mint_test

import (
	"bytes"
	"strings"
	"testing"
	"time"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness/mint"
)

var clock = time.Date(2026, 11, 23, 5, 0, 0, 0, time.UTC)

func generator(t *testing.T, seed uint64, citizens int) *mint.Generator {
	t.Helper()
	pki, err := testpki.Load()
	if err != nil {
		t.Fatal(err)
	}
	g, err := mint.New(mint.Config{PKI: pki, Clock: clock, Seed: seed, Citizens: citizens})
	if err != nil {
		t.Fatal(err)
	}
	return g
}

func requests(t *testing.T, g *mint.Generator, n int) []mint.Request {
	t.Helper()
	var all []mint.Request
	if err := g.Requests(n, 2, func(r mint.Request) error { all = append(all, r); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// Every reason that a document, a signature, a certificate or a form can be refused for at a door
// is in a corpus that has one of everything.
func TestEveryReasonThatACorpusCanProvoke(t *testing.T) {
	if testing.Short() {
		t.Skip("one thing after the other; the run without -short has it")
	}
	seen := map[gateway.Reason]bool{}
	kinds := map[string]bool{}
	for _, r := range requests(t, generator(t, 1, 0), 200) {
		seen[r.Entry.Admission.Reason] = true
		kinds[r.Entry.Algorithm] = true
	}
	// These need another configuration than that of the test PKI: an anchor or issuer that is
	// itself wrong, or evidence that is away. The kit has those that a verifier can be asked.
	elsewhere := map[gateway.Reason]string{
		gateway.NotACA: "kit", gateway.PathLength: "kit", gateway.NameConstraint: "kit", gateway.PolicyConstraint: "kit", gateway.IssuerExpired: "kit", gateway.NotACitizen: "kit",
		gateway.StatusUnavailable: "kit", gateway.EvidenceStale: "kit",
		gateway.IINInvalid: "a form's IIN is form.invalid", gateway.BINInvalid: "no form has one", gateway.BINMissing: "of results", gateway.BINMismatch: "of results",
	}
	for _, r := range gateway.Reasons() {
		part, _, _ := strings.Cut(string(r), ".")
		switch part {
		case "document", "signature", "certificate", "identity", "form", "attachment":
			if !seen[r] && elsewhere[r] == "" {
				t.Errorf("no entry is refused with %s", r)
			}
		}
	}
	for _, r := range []gateway.Reason{"", gateway.Revoked, gateway.Suspended, gateway.NeverIssued, gateway.IssuerRevoked, gateway.ReplayConflict, gateway.BodyEmpty} {
		if !seen[r] {
			t.Errorf("no entry ends with %q", r)
		}
	}
	if !kinds[mint.RSA] || !kinds[mint.GOST] {
		t.Errorf("algorithms %v", kinds)
	}
	kit := map[gateway.Reason]bool{}
	if err := generator(t, 1, 0).Trials(600, func(tr mint.Trial) error { kit[tr.Want] = true; return nil }); err != nil {
		t.Fatal(err)
	}
	for r, where := range elsewhere {
		if where == "kit" && !kit[r] {
			t.Errorf("no document of the kit is refused with %s", r)
		}
	}
}

// The seed decides what is made; documents of RSA keys are the same bytes.
func TestTheSeedDecides(t *testing.T) {
	if testing.Short() {
		t.Skip("one thing after the other; the run without -short has it")
	}
	one, again, other := requests(t, generator(t, 7, 40), 300), requests(t, generator(t, 7, 40), 300), requests(t, generator(t, 8, 40), 300)
	differ := 0
	for i := range one {
		if one[i].Entry.ID != again[i].Entry.ID || one[i].Entry.Class != again[i].Entry.Class || one[i].Entry.Comment != again[i].Entry.Comment || one[i].Entry.IIN != again[i].Entry.IIN {
			t.Fatalf("entry %d: %+v and %+v", i, one[i].Entry, again[i].Entry)
		}
		if one[i].Entry.Algorithm == mint.RSA && !bytes.Equal(one[i].Document, again[i].Document) {
			t.Fatalf("entry %s: the same seed made other bytes", one[i].Entry.ID)
		}
		if i < len(other) && !bytes.Equal(one[i].Document, other[i].Document) {
			differ++
		}
	}
	if differ < len(one)/2 {
		t.Errorf("another seed made %d of %d documents differently", differ, len(one))
	}
}

// Sizes, languages and shares are those that are promised.
func TestTheMixtureIsThePromisedOne(t *testing.T) {
	if testing.Short() {
		t.Skip("3,000 documents, in the run without -short")
	}
	sizes, languages, refused, people := [4]int{}, map[string]int{}, 0, map[string]bool{}
	all := requests(t, generator(t, 3, 200), 3000)
	for _, r := range all {
		if r.Entry.Admission.Status != gateway.Verified {
			refused++
			continue
		}
		people[r.Entry.Applicant] = true
		switch n := len(r.Document); {
		case n < 9<<10:
			sizes[0]++
		case n < 50<<10:
			sizes[1]++
		case n < 300<<10:
			sizes[2]++
		default:
			sizes[3]++
		}
		for _, l := range []string{"kk", "ru"} {
			if bytes.Contains(r.Document, []byte("<language>"+l+"</language>")) {
				languages[l]++
			}
		}
	}
	accepted := len(all) - refused
	for i, want := range []float64{30, 60, 9, 1} {
		if got := 100 * float64(sizes[i]) / float64(accepted); got < want*0.6-0.3 || got > want*1.4+0.3 {
			t.Errorf("size %d: %.1f %%, want %.0f %%", i, got, want)
		}
	}
	if share := 100 * float64(refused) / float64(len(all)); share < 22 || share > 40 {
		t.Errorf("%.1f %% are refused", share)
	}
	if languages["kk"] < accepted/3 || languages["ru"] < accepted/3 {
		t.Errorf("languages %v of %d", languages, accepted)
	}
	if len(people) < 150 {
		t.Errorf("%d applicants of 200", len(people))
	}
}
