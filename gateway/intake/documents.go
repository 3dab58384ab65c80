package intake

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"slices"
	"strings"

	"egov-gateway/gateway"
	"egov-gateway/gateway/passport"
)

// acceptedTypes are the media types of attached copies, told by their content.
var acceptedTypes = []string{"application/pdf", "image/jpeg", "image/png"}

// checkDocuments matches what was sent against the signed list by SHA-256, never by name
// (R9): every listed document was sent, nothing else was, sizes and types are as signed,
// what the service requires is listed, and all together is within the service's limit.
func (a *decision) checkDocuments() error {
	rules := a.route.Passport.Attachments
	for _, rule := range rules.Documents {
		has := slices.ContainsFunc(a.request.Attachments, func(x gateway.Attachment) bool { return x.Kind == rule.Kind })
		if rule.Need == passport.Required && !has && rule.When.Holds(a.opened.Root()) {
			return gateway.Errorf(gateway.AttachmentRequired, "a document of the kind %s is required", rule.Kind)
		}
	}
	var total int64
	for i, x := range a.request.Attachments {
		if !slices.ContainsFunc(rules.Documents, func(r passport.DocumentRule) bool { return r.Kind == x.Kind }) {
			return gateway.Errorf(gateway.AttachmentUnexpected, "attachment %d is of a kind that the service does not take", i+1)
		}
		if total += x.Size; total > rules.TotalBytes {
			return gateway.Errorf(gateway.AttachmentsTooLarge, "all documents together may have %d bytes", rules.TotalBytes)
		}
	}
	sent := map[string]File{}
	for _, f := range a.files {
		sent[sum(f.Data)] = f
	}
	for i, x := range a.request.Attachments {
		f, ok := sent[x.SHA256]
		switch {
		case !ok && slices.ContainsFunc(a.files, func(f File) bool { return f.Name == x.Name }):
			return gateway.Errorf(gateway.AttachmentDigest, "attachment %d is not the document whose SHA-256 was signed", i+1)
		case !ok:
			return gateway.Errorf(gateway.AttachmentMissing, "attachment %d of the signed list was not sent", i+1)
		case int64(len(f.Data)) != x.Size:
			return gateway.Errorf(gateway.AttachmentSize, "attachment %d has %d bytes, signed were %d", i+1, len(f.Data), x.Size)
		}
		found := contentType(f.Data)
		if found != x.MediaType || !slices.Contains(acceptedTypes, found) {
			signed := "another type"
			if slices.Contains(acceptedTypes, x.MediaType) {
				signed = x.MediaType
			}
			return gateway.Errorf(gateway.AttachmentType, "attachment %d is %s by its content, signed was %s", i+1, found, signed)
		}
	}
	for i, f := range a.files {
		digest := sum(f.Data)
		if !slices.ContainsFunc(a.request.Attachments, func(x gateway.Attachment) bool { return x.SHA256 == digest }) {
			return gateway.Errorf(gateway.AttachmentUnexpected, "part %d is not in the signed list", i+1)
		}
	}
	return nil
}

// pdfHeader may stand anywhere in so many first bytes (ISO 32000-1, annex H, note 13): scanners and mail
// programs write a byte order mark or lines of their own before it.
const pdfHeader = 1024

// contentType is the media type that the bytes themselves show. Programs and pages are none that is taken,
// whatever they carry inside.
func contentType(b []byte) string {
	found, _, _ := strings.Cut(http.DetectContentType(b), ";")
	if found != "text/plain" && found != "application/octet-stream" {
		return found
	}
	for _, program := range []string{"MZ", "\x7fELF", "#!", "<"} {
		if bytes.HasPrefix(b, []byte(program)) {
			return found
		}
	}
	if bytes.Contains(b[:min(len(b), pdfHeader)], []byte("%PDF-")) {
		return "application/pdf"
	}
	return found
}

func sum(b []byte) string {
	s := sha256.Sum256(b)
	return hex.EncodeToString(s[:])
}
