// Package corpus is the format of a collection of signed documents with what must become of
// each: a folder or a zip file that is read from front to end, however many millions it holds.
// CORPUS.md describes it for those who write or read it with other programs.
package corpus

import (
	"fmt"
	"path"
	"strings"
	"time"

	"egov-gateway/gateway"
)

// Format and Version stand in every corpus. A reader refuses a corpus of a later version.
const (
	Format  = "egov-gateway-corpus"
	Version = 1
)

// Names of the two files that every corpus has.
const (
	HeaderFile   = "corpus.json"
	ManifestFile = "manifest.jsonl"
)

// A Door says which door an entry is meant for.
type Door string

const (
	REST Door = "rest" // POST /v1/requests
	SHEP Door = "shep" // SyncChannel, SendMessage
)

// A Header is corpus.json.
type Header struct {
	Format  string `json:"format"`
	Version int    `json:"version"`
	Comment string `json:"comment,omitempty"`
	// Clock is the instant for which the expectations hold: verifiers judge at it, and a gateway
	// that the corpus is replayed to runs under a clock that starts there.
	Clock time.Time `json:"clock"`
	// Lasts is for how long after Clock requests are still young enough for the doors; 0 is not said.
	Lasts   Duration `json:"lasts,omitempty"`
	Entries int64    `json:"entries"`
	Seed    uint64   `json:"seed,omitempty"` // of the generator
	// Trust material, as paths inside the corpus; each may name a folder.
	Trust     []string `json:"trust,omitempty"`     // anchors, PEM
	Untrusted []string `json:"untrusted,omitempty"` // certificates of issuing CAs, PEM
	CRLs      []string `json:"crls,omitempty"`      // DER
	OCSP      []string `json:"ocsp,omitempty"`      // answers, DER
}

// Duration is written like 72h.
type Duration time.Duration

// MarshalText implements encoding.TextMarshaler.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText implements encoding.TextUnmarshaler.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// A Part is where bytes lie: a whole file, or with Size above 0 a piece of one.
type Part struct {
	File   string `json:"file"`
	Offset int64  `json:"offset,omitempty"`
	Size   int64  `json:"size,omitempty"`
}

// An Attachment is a copy sent beside the request.
type Attachment struct {
	Name      string `json:"name"`
	MediaType string `json:"media_type"`
	Part
}

// An Expected says how something must end.
type Expected struct {
	Status gateway.Status `json:"status"`
	Reason gateway.Reason `json:"reason,omitempty"`
}

// An Entry is one line of the manifest.
type Entry struct {
	ID string `json:"id"` // unique
	Part
	Attachments []Attachment `json:"attachments,omitempty"`
	// Door the entry is meant for; "" fits both.
	Door Door `json:"door,omitempty"`
	// Class groups entries in scores: what was done to the document, "signature/wrapping" say.
	Class string `json:"class"`
	// Algorithm of the signature: RSA or GOST.
	Algorithm string    `json:"algorithm,omitempty"`
	At        time.Time `json:"at,omitzero"` // zero means the corpus' clock

	// Verdict is what a verifier of signed documents must say, knowing IIN, Purpose, Profile and
	// the trust material, and nothing of forms. nil: the entry is for doors only.
	Verdict *Expected `json:"verdict,omitempty"`
	IIN     string    `json:"iin,omitempty"`     // of the person who must have signed
	Purpose string    `json:"purpose,omitempty"` // sign-person, sign-legal, any
	Profile string    `json:"profile,omitempty"` // document, co-signed, wsse; "" means document

	// Admission is what a door must say. nil: the entry is for verifiers only.
	Admission *Expected `json:"admission,omitempty"`
	// Outcome is what the citizen's cabinet must show in the end: assignment, refusal or answer.
	Outcome gateway.ResultKind `json:"outcome,omitempty"`
	Ground  string             `json:"ground,omitempty"` // of a refusal
	// Applicant is the IIN whose cabinet shows the outcome.
	Applicant string `json:"applicant,omitempty"`

	// Awaited marks an entry that a later one is sent After; that one waits for its answer.
	Awaited bool   `json:"awaited,omitempty"`
	After   string `json:"after,omitempty"` // id
	Comment string `json:"comment,omitempty"`
}

// Check tells what a manifest line lacks or has too much.
func (e *Entry) Check() error {
	bad := func(format string, args ...any) error {
		return fmt.Errorf("entry %q: "+format, append([]any{e.ID}, args...)...)
	}
	if e.ID == "" || strings.ContainsAny(e.ID, "\n\x00") {
		return bad("the id is missing or holds a line end")
	}
	if err := e.Part.check(); err != nil {
		return bad("%w", err)
	}
	for _, a := range e.Attachments {
		if err := a.check(); err != nil {
			return bad("attachment: %w", err)
		}
		if a.Name == "" || a.MediaType == "" {
			return bad("an attachment needs name and media_type")
		}
	}
	if e.Door != "" && e.Door != REST && e.Door != SHEP {
		return bad("door %q is not rest or shep", e.Door)
	}
	for _, x := range []*Expected{e.Verdict, e.Admission} {
		if x == nil {
			continue
		}
		switch x.Status {
		case gateway.Verified, gateway.Refused, gateway.Indeterminate:
		default:
			return bad("status %q is not verified, refused or indeterminate", x.Status)
		}
		if (x.Status == gateway.Verified) != (x.Reason == "") {
			return bad("a reason stands with refused and indeterminate, and only with them")
		}
	}
	if e.Outcome != "" && (e.Admission == nil || e.Admission.Status != gateway.Verified || e.Applicant == "") {
		return bad("an outcome needs an admission that is verified, and the applicant")
	}
	if e.After == e.ID {
		return bad("it is sent after itself")
	}
	return nil
}

func (p Part) check() error {
	if p.File == "" || path.IsAbs(p.File) || path.Clean(p.File) != p.File || strings.HasPrefix(p.File, "..") || strings.Contains(p.File, `\`) {
		return fmt.Errorf("file %q is not a clean path inside the corpus", p.File)
	}
	if p.Offset < 0 || p.Size < 0 || p.Offset > 0 && p.Size == 0 {
		return fmt.Errorf("offset %d with size %d", p.Offset, p.Size)
	}
	return nil
}

// Parts are the document and its copies, in the order in which they are read.
func (e *Entry) Parts() []Part {
	all := []Part{e.Part}
	for _, a := range e.Attachments {
		all = append(all, a.Part)
	}
	return all
}
