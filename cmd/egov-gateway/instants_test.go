package main

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"egov-gateway/gateway"
	"egov-gateway/gateway/cabinet"
	"egov-gateway/gateway/shep"
)

// centuries are instants whose distance from now does not fit into a duration, or nearly not.
func centuries() map[string]time.Time {
	return map[string]time.Time{
		"the year 1":               time.Date(1, 1, 1, 0, 0, 0, 0, time.UTC),
		"the year 1, and a moment": time.Date(1, 1, 1, 0, 0, 1, 0, time.UTC),
		"the year 1700":            time.Date(1700, 6, 1, 0, 0, 0, 0, time.UTC),
		"the year 1900":            time.Date(1900, 6, 1, 0, 0, 0, 0, time.UTC),
		"the year 2200":            time.Date(2200, 6, 1, 0, 0, 0, 0, time.UTC),
		"the year 2319":            time.Date(2319, 6, 1, 0, 0, 0, 0, time.UTC),
		"the year 9999":            time.Date(9999, 12, 31, 0, 0, 0, 0, time.UTC),
	}
}

// A date of another century is fresh at no door.
func TestNoDateOfAnotherCenturyIsFresh(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	signed := l.mustSigned(t, l.draft("citizen-01", taraz), "citizen-01")
	faultOf := func(t *testing.T, channel, key string, p shep.Payload, at time.Time) gateway.Reason {
		t.Helper()
		envelope := l.envelope(t, key, p)
		// The encoder leaves out the zero instant, and writes others in Kazakhstan's time.
		f, ok := func() (*shep.Fault, bool) {
			_, got := l.soap(t, channel, []byte(strings.ReplaceAll(string(envelope), shep.FormatDate(placeholder), at.Format(time.RFC3339))))
			f, ok := got.Payload.(*shep.Fault)
			return f, ok
		}()
		if !ok {
			return ""
		}
		reason, _, _ := strings.Cut(f.Info.Data, ":")
		return gateway.Reason(reason)
	}
	stale := func(t *testing.T, got gateway.Reason) {
		t.Helper()
		if got != gateway.TransportStale && got != gateway.DocumentMalformed {
			t.Errorf("answered with %q", got)
		}
	}
	for name, at := range centuries() {
		t.Run("createdAt: "+name, func(t *testing.T) {
			d := l.draft("citizen-01", taraz)
			d.CreatedAt = at
			status, _, body := l.restPost(t, []byte(l.mustSigned(t, d, "citizen-01")))
			if p := problemOf(t, body); status != http.StatusUnprocessableEntity || p.Reason != gateway.CreatedAtRange {
				t.Errorf("%d %s", status, body)
			}
		})
		t.Run("messageDate of SyncChannel: "+name, func(t *testing.T) {
			m := l.message(text(signed))
			m.Date = placeholder
			stale(t, faultOf(t, "sync", "", m, at))
		})
		t.Run("messageDate of AsyncChannel: "+name, func(t *testing.T) {
			m := l.request(text(signed))
			m.Date = placeholder
			stale(t, faultOf(t, "async", "", m, at))
		})
		t.Run("requestDate of a query: "+name, func(t *testing.T) {
			stale(t, faultOf(t, "async", "", &shep.MessagesQuery{ServiceID: housing, Date: placeholder, Sender: l.egov()}, at))
		})
		t.Run("requestDate of a question for a status: "+name, func(t *testing.T) {
			stale(t, faultOf(t, "async", "", &shep.StatusQuery{MessageID: "x", Date: placeholder, Sender: l.egov()}, at))
		})
		t.Run("requestDate of a delivery notification: "+name, func(t *testing.T) {
			stale(t, faultOf(t, "async", "", &shep.DeliveryNotification{MessageID: "x", ServiceID: housing, Date: placeholder, StatusDate: placeholder,
				RequestDate: placeholder, Sender: l.egov(), Accepted: true}, at))
		})
	}
}

// What a provider claims to have done in another century is not taken.
func TestNoProviderWorksInAnotherCentury(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	r := l.mustAccept(t, l.draft("citizen-01", taraz), "citizen-01")
	for name, at := range centuries() {
		step := fmt.Sprintf("<requestId>%s</requestId><code>register</code><completedAt>%s</completedAt>", r.ID, at.Format(time.RFC3339))
		if status, reason := l.report(t, "step", step); status != http.StatusUnprocessableEntity || reason != gateway.FormInvalid {
			t.Errorf("completedAt: %s: %d %s", name, status, reason)
		}
		result := fmt.Sprintf(`<requestId>%s</requestId><number>1</number><decidedAt>%s</decidedAt><providerBin>%s</providerBin><providerName><kk>A</kk><ru>A</ru></providerName>
<refusal><ground>data-unreliable</ground><explanation><kk>A</kk><ru>A</ru></explanation></refusal>`, r.ID, at.Format(time.RFC3339), l.pki.Must("provider-zhambyl-head").BIN)
		if status, reason := l.report(t, "result", result); status != http.StatusUnprocessableEntity || reason != gateway.FormInvalid {
			t.Errorf("decidedAt: %s: %d %s", name, status, reason)
		}
	}
}

// A citizen's token whose life spans centuries opens no cabinet; one whose instants are no dates at
// all neither.
func TestNoTokenLivesForCenturies(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	iin, now := l.pki.Must("citizen-01").IIN, l.clock.Now()
	if l.tokenNow != nil {
		now = l.tokenNow()
	}
	opens := func(claims jwt.MapClaims) int {
		claims["iss"], claims["aud"], claims["iin"] = "egov.kz", cabinet.Audience, iin
		token, err := jwt.NewWithClaims(jwt.SigningMethodEdDSA, claims).SignedString(l.portalKey)
		if err != nil {
			t.Fatal(err)
		}
		status, _, _ := get(t, l.base+"/cabinet/api/requests", "Authorization", "Bearer "+token)
		return status
	}
	soon := now.Add(10 * time.Minute).Unix()
	if status := opens(jwt.MapClaims{"iat": now.Unix(), "exp": soon}); status != http.StatusOK {
		t.Fatalf("an ordinary token: %d", status)
	}
	for name, at := range centuries() {
		if status := opens(jwt.MapClaims{"iat": at.Unix(), "exp": soon}); status != http.StatusUnauthorized {
			t.Errorf("iat: %s: %d", name, status)
		}
		if status := opens(jwt.MapClaims{"iat": now.Unix(), "exp": at.Unix()}); status != http.StatusUnauthorized {
			t.Errorf("exp: %s: %d", name, status)
		}
		if status := opens(jwt.MapClaims{"iat": now.Unix(), "nbf": at.Unix(), "exp": soon}); status != http.StatusUnauthorized && at.After(now) {
			t.Errorf("nbf: %s: %d", name, status)
		}
	}
	for _, huge := range []float64{1e300, -1e300, 9.223372036854775e18, -9.223372036854775e18} {
		if status := opens(jwt.MapClaims{"iat": now.Unix(), "exp": huge}); status != http.StatusUnauthorized {
			t.Errorf("exp %g: %d", huge, status)
		}
		if status := opens(jwt.MapClaims{"iat": huge, "exp": soon}); status != http.StatusUnauthorized {
			t.Errorf("iat %g: %d", huge, status)
		}
	}
}

// placeholder is put into envelopes whose date is written by hand.
var placeholder = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

func (l *lab) restPost(t *testing.T, doc []byte) (int, http.Header, []byte) {
	t.Helper()
	return call(t, http.MethodPost, l.base+"/v1/requests", doc, "Content-Type", "application/xml", "Authorization", "Bearer "+l.token)
}
