package main

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
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

// placeholder is put into envelopes whose date is written by hand.
var placeholder = time.Date(2001, 2, 3, 4, 5, 6, 0, time.UTC)

func (l *lab) restPost(t *testing.T, doc []byte) (int, http.Header, []byte) {
	t.Helper()
	return call(t, http.MethodPost, l.base+"/v1/requests", doc, "Content-Type", "application/xml", "Authorization", "Bearer "+l.token)
}
