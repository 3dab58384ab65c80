package admission

import (
	"net/http"
	"strings"

	"egov-gateway/gateway"
)

// BearerToken returns the bearer token of a request (RFC 6750 §2.1). The scheme's name is compared
// without case (RFC 9110 §11.1), and one space stands after it; ok is false when there is no token of
// that scheme.
func BearerToken(r *http.Request) (token string, ok bool) {
	scheme, token, found := strings.Cut(r.Header.Get("Authorization"), " ")
	if !found || !strings.EqualFold(scheme, "Bearer") {
		return "", false
	}
	return token, true
}

// CheckEncoding refuses a body that is compressed, or coded in any other way (RFC 9110 §8.4), before it
// is read. What a few bytes become when they are inflated is no business of a door. The error carries
// [gateway.MediaType].
func CheckEncoding(r *http.Request) error {
	for _, line := range r.Header.Values("Content-Encoding") {
		for coding := range strings.SplitSeq(line, ",") {
			if coding = strings.TrimSpace(coding); coding != "" && !strings.EqualFold(coding, "identity") {
				return gateway.Errorf(gateway.MediaType, "send the body as it is, without the header Content-Encoding")
			}
		}
	}
	return nil
}

// BoundForm lets the form of a page be read, at most limit bytes of it. One that is coded, or announced as
// longer, is refused before any of it is asked for. The error carries [gateway.MediaType] or
// [gateway.BodyTooLarge].
func BoundForm(w http.ResponseWriter, r *http.Request, limit int64) error {
	err := CheckEncoding(r)
	if err == nil && r.ContentLength > limit {
		err = tooLarge(limit)
	}
	if err != nil {
		HangUp(w, r)
		return err
	}
	// Not earlier: whoever is refused with another Body than the server's own is waited for, although he
	// waits for leave to send (net/http looks at its type).
	r.Body = http.MaxBytesReader(w, r.Body, limit)
	return nil
}
