package intake

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/message"
	"egov-gateway/gateway/passport"
)

// RetryAfter is what a caller is told to wait when nothing better is known.
const RetryAfter = 5 * time.Second

// A Problem is a refusal as RFC 9457 says it. It holds no personal data and no value of any
// field of the request.
type Problem struct {
	Type   string `json:"type"`
	Title  string `json:"title"`  // the reason's sentence in the negotiated language
	Status int    `json:"status"` // HTTP status
	Detail string `json:"detail,omitempty"`
	// Reason is the machine-readable reason.
	Reason gateway.Reason `json:"reason"`
	// Verdict and VerdictText are one of the three official words.
	Verdict     gateway.Status `json:"verdict"`
	VerdictText string         `json:"verdict_text"`
	// Titles has the sentence in all three languages.
	Titles gateway.Texts `json:"titles"`
	// Checks lists the six checks when a signed document was judged.
	Checks []gateway.Check `json:"checks,omitempty"`
	// Faults lists what is wrong with the form.
	Faults []FaultText `json:"faults,omitempty"`
}

// A FaultText is a form fault with its rule's sentence.
type FaultText struct {
	passport.Fault
	Title  string        `json:"title"`
	Titles gateway.Texts `json:"titles"` // in all three languages
}

// A Refusal is an error with what a Problem shows beside the reason.
type Refusal struct {
	Err    error
	Checks []gateway.Check
	Faults []passport.Fault
	// Again, when set, is from when on the same submission would be taken.
	Again time.Time
	after time.Duration // from the refusal to Again
}

func (r *Refusal) Error() string { return r.Err.Error() }
func (r *Refusal) Unwrap() error { return r.Err }

// HTTPStatus is the status for a reason. What a client sent never makes a 500: a reason that
// is not the client's is 503, try again.
func HTTPStatus(r gateway.Reason) int {
	switch r {
	case gateway.PortalUnauthenticated, gateway.CitizenUnauthenticated, gateway.ProviderUnauthenticated, gateway.OperatorUnauthenticated:
		return http.StatusUnauthorized
	case gateway.NotFound:
		return http.StatusNotFound
	case gateway.PortalLimit, gateway.CitizenLimit, gateway.GuessLimit:
		return http.StatusTooManyRequests
	case gateway.Erased:
		return http.StatusGone
	case gateway.MethodNotAllowed:
		return http.StatusMethodNotAllowed
	case gateway.NotAcceptable:
		return http.StatusNotAcceptable
	case gateway.BodyTruncated:
		return http.StatusRequestTimeout
	case gateway.ReplayConflict, gateway.ResultConflict:
		return http.StatusConflict
	case gateway.BodyTooLarge, gateway.DocumentTooLarge, gateway.AttachmentsTooLarge:
		return http.StatusRequestEntityTooLarge
	case gateway.MediaType:
		return http.StatusUnsupportedMediaType
	case gateway.BodyEmpty, gateway.MultipartBroken, gateway.DocumentEncoding, gateway.DocumentMalformed, gateway.DocumentDoctype,
		gateway.DocumentInstruction, gateway.DocumentNamespace, gateway.DocumentLimit:
		return http.StatusBadRequest
	}
	if r.Class() == gateway.Permanent {
		return http.StatusUnprocessableEntity
	}
	return http.StatusServiceUnavailable
}

// ProblemOf says in public what err is, in one language. It is the only place that turns a Reason
// into a public answer.
func ProblemOf(texts *message.Catalogue, lang gateway.Language, err error) Problem {
	reason := gateway.ReasonOf(err)
	word := gateway.StatusOf(reason)
	p := Problem{
		Type: "urn:egov-gateway:reason:" + string(reason), Title: texts.Reason(lang, reason), Status: HTTPStatus(reason), Detail: publicDetail(err, reason),
		Reason: reason, Verdict: word, VerdictText: texts.Text(lang, "status."+string(word)), Titles: texts.All("reason." + string(reason)),
	}
	if refusal, ok := errors.AsType[*Refusal](err); ok {
		p.Checks = refusal.Checks
		for _, f := range refusal.Faults {
			p.Faults = append(p.Faults, FaultText{f, texts.Text(lang, "rule."+f.Rule), texts.All("rule." + f.Rule)})
		}
		if !refusal.Again.IsZero() {
			p.Titles = gateway.Texts{}
			for _, l := range gateway.Languages {
				p.Titles[l] = texts.Text(l, "notice.citizen_limit", texts.DateTime(l, refusal.Again))
			}
			p.Title = p.Titles.In(lang)
		}
	}
	return p
}

// WriteProblem answers with err as a problem document in the language of the request.
func WriteProblem(w http.ResponseWriter, r *http.Request, texts *message.Catalogue, err error) {
	if refusal, ok := errors.AsType[*Refusal](err); ok && refusal.after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((refusal.after+time.Second-1)/time.Second)))
	}
	if seconds, ok := admission.RetryAfter(err); ok {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	lang := problemHeader(w, r, HTTPStatus(gateway.ReasonOf(err)))
	json.NewEncoder(w).Encode(ProblemOf(texts, lang, err)) //nolint:errcheck // the client may be gone
}

// problemHeader writes all of a problem document's answer but its body, whose language it returns.
func problemHeader(w http.ResponseWriter, r *http.Request, status int) gateway.Language {
	lang := message.Negotiate(r.Header.Get("Accept-Language"), gateway.Kazakh)
	h := w.Header()
	if (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests) && h.Get("Retry-After") == "" {
		h.Set("Retry-After", strconv.Itoa(int(RetryAfter/time.Second)))
	}
	if status == http.StatusUnauthorized {
		h.Set("WWW-Authenticate", `Bearer realm="egov-gateway"`)
	}
	h.Set("Content-Type", "application/problem+json")
	h.Set("Content-Language", string(lang))
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	return lang
}

// publicDetail is the cause for a client's mistake; our own troubles stay in the log.
func publicDetail(err error, r gateway.Reason) string {
	if r.Class() != gateway.Permanent {
		return ""
	}
	return gateway.DetailOf(err)
}
