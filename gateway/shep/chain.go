package shep

import (
	"strings"

	"egov-gateway/gateway"
)

// Chain is the correlation id of a request: its id as a GUID in braces. Every gateway on the
// way of a request derives the same one from what was signed.
func Chain(id gateway.RequestID) string {
	s := string(id)
	if len(s) != 32 {
		return ""
	}
	return "{" + s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:] + "}"
}

// RequestOf is the request whose chain it is, with or without braces and in either case. The
// error carries [gateway.NotFound].
func RequestOf(chain string) (gateway.RequestID, error) {
	s := strings.ToLower(strings.TrimSpace(chain))
	s = strings.ReplaceAll(strings.TrimSuffix(strings.TrimPrefix(s, "{"), "}"), "-", "")
	return gateway.ParseRequestID(s)
}
