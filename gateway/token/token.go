// Package token looks at JSON Web Tokens before a library verifies them: at what libraries are
// lenient about and their standards are not.
package token

import (
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"
	"time"

	"egov-gateway/gateway"
)

// The first and the last second of the years 1 to 9999, in which instants can be compared, printed and
// kept everywhere.
var (
	earliest = float64(time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC).Unix())
	latest   = float64(time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC).Unix())
)

// Check refuses a signed token (JWS compact serialization) that
//
//   - has "crit" in its header: it demands an extension, and none is understood here (RFC 7515 §4.1.11);
//   - states exp, nbf or iat as anything but a number, or one outside the years 1 to 9999 (RFC 7519 §2).
//
// It verifies nothing. Names are compared without case, as the libraries' decoders may. The error
// carries [gateway.DocumentMalformed] and never a part of the token.
func Check(raw string) error {
	parts := strings.Split(raw, ".")
	if len(parts) != 3 {
		return gateway.Errorf(gateway.DocumentMalformed, "the token does not have three parts")
	}
	header, err := object(parts[0])
	if err != nil {
		return err
	}
	for name := range header {
		if strings.EqualFold(name, "crit") {
			return gateway.Errorf(gateway.DocumentMalformed, "the token's header demands an extension (crit)")
		}
	}
	claims, err := object(parts[1])
	if err != nil {
		return err
	}
	for name, value := range claims {
		for _, instant := range []string{"exp", "nbf", "iat"} {
			if strings.EqualFold(name, instant) && !isInstant(value) {
				return gateway.Errorf(gateway.DocumentMalformed, "the token's %s is not a number of seconds in the years 1 to 9999", instant)
			}
		}
	}
	return nil
}

func object(part string) (map[string]json.RawMessage, error) {
	var m map[string]json.RawMessage
	b, err := base64.RawURLEncoding.DecodeString(part)
	if err != nil || json.Unmarshal(b, &m) != nil || m == nil {
		return nil, gateway.Errorf(gateway.DocumentMalformed, "a part of the token is not a JSON object in base64url")
	}
	return m, nil
}

// isInstant reports whether a JSON value is a number of seconds that is a date. null is what was left out.
func isInstant(value json.RawMessage) bool {
	if string(value) == "null" {
		return true
	}
	n, err := strconv.ParseFloat(string(value), 64)
	return err == nil && value[0] != '"' && n >= earliest && n <= latest
}
