package main

import (
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/xmlsig"
)

const (
	nsWSSE = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-secext-1.0.xsd"
	nsWSU  = "http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-wssecurity-utility-1.0.xsd"
)

// stampOf is a wsu:Timestamp in a WS-Security header; what is zero is left out.
func stampOf(created, expires time.Time) string {
	s := ""
	if !created.IsZero() {
		s += "<wsu:Created>" + created.UTC().Format(time.RFC3339Nano) + "</wsu:Created>"
	}
	if !expires.IsZero() {
		s += "<wsu:Expires>" + expires.UTC().Format(time.RFC3339Nano) + "</wsu:Expires>"
	}
	return `<wsu:Timestamp xmlns:wsu="` + nsWSU + `" wsu:Id="ts-1">` + s + `</wsu:Timestamp>`
}

func inSecurity(content string) string {
	return `<wsse:Security xmlns:wsse="` + nsWSSE + `">` + content + `</wsse:Security>`
}

// withHeader puts an entry into the header of an envelope.
func withHeader(envelope []byte, entry string) []byte {
	s := string(envelope)
	if strings.Contains(s, "</soap:Header>") {
		return []byte(strings.Replace(s, "</soap:Header>", entry+"</soap:Header>", 1))
	}
	return []byte(strings.Replace(s, "<soap:Body", "<soap:Header>"+entry+"</soap:Header><soap:Body", 1))
}

// withSignedStamp signs the Body of an envelope and a Timestamp, as WSS4J does.
func (l *lab) withSignedStamp(t *testing.T, key string, envelope []byte, stamp string) []byte {
	t.Helper()
	pair := l.pki.Must(key)
	s := strings.Replace(string(envelope), "<soap:Body", `<soap:Body xmlns:wsu="`+nsWSU+`" wsu:Id="b-1"`, 1)
	i, j := strings.Index(s, "<soap:Body"), strings.Index(s, "</soap:Envelope>")
	canonical := func(doc string) []byte {
		b, err := xmlsig.Canonicalize(xmlsig.ExcC14N, []byte(doc))
		if err != nil {
			t.Fatal(err)
		}
		return b
	}
	reference := func(id, signed string) string {
		sum := sha256.Sum256(canonical(signed))
		return `<ds:Reference URI="#` + id + `"><ds:Transforms><ds:Transform Algorithm="` + xmlsig.ExcC14N + `"/></ds:Transforms><ds:DigestMethod Algorithm="` + xmlsig.DigestSHA256 +
			`"/><ds:DigestValue>` + base64.StdEncoding.EncodeToString(sum[:]) + `</ds:DigestValue></ds:Reference>`
	}
	const ds = ` xmlns:ds="http://www.w3.org/2000/09/xmldsig#"`
	body := strings.Replace(s[i:j], "<soap:Body", `<soap:Body xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"`, 1)
	info := `<ds:SignedInfo` + ds + `><ds:CanonicalizationMethod Algorithm="` + xmlsig.ExcC14N + `"/><ds:SignatureMethod Algorithm="` + xmlsig.RSASHA256 + `"/>` +
		reference("b-1", body) + reference("ts-1", stamp) + `</ds:SignedInfo>`
	sum := sha256.Sum256(canonical(info))
	value, err := pair.Signer.Sign(rand.Reader, sum[:], crypto.SHA256)
	if err != nil {
		t.Fatal(err)
	}
	signature := `<ds:Signature` + ds + `>` + info + `<ds:SignatureValue>` + base64.StdEncoding.EncodeToString(value) + `</ds:SignatureValue><ds:KeyInfo><wsse:SecurityTokenReference>` +
		`<wsse:KeyIdentifier ValueType="http://docs.oasis-open.org/wss/2004/01/oasis-200401-wss-x509-token-profile-1.0#X509v3">` + base64.StdEncoding.EncodeToString(pair.DER) +
		`</wsse:KeyIdentifier></wsse:SecurityTokenReference></ds:KeyInfo></ds:Signature>`
	return withHeader([]byte(s), inSecurity(stamp+signature))
}

// What a message's header says of time counts as much as its own date: neither an expired message is
// taken nor one from the future, and no signed one for ever.
func TestTheHeadersTimeCounts(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	now := l.clock.Now()
	byPassword := func(at time.Time) []byte {
		return l.envelope(t, "", &shep.MessagesQuery{ServiceID: housing, Sender: l.egov(), Date: at})
	}
	signed := func(at time.Time) []byte {
		return l.envelope(t, "system-portal", &shep.MessagesQuery{ServiceID: housing, Sender: shep.Sender{ID: "BANK"}, Date: at})
	}
	undated := l.envelope(t, "", &shep.MessagesQuery{ServiceID: housing, Sender: shep.Sender{ID: "BANK"}})
	stamped := func(created, expires time.Time) []byte {
		return l.withSignedStamp(t, "system-portal", undated, stampOf(created, expires))
	}
	with := func(envelope []byte, created, expires time.Time) []byte {
		return withHeader(envelope, inSecurity(stampOf(created, expires)))
	}
	var none time.Time
	tests := []struct {
		name     string
		envelope []byte
		want     gateway.Reason
	}{
		{"by password, without a date", byPassword(none), ""},
		{"by password, with a Timestamp of now", with(byPassword(now), now, now.Add(5*time.Minute)), ""},
		{"by password, expired", with(byPassword(now), now.Add(-10*time.Minute), now.Add(-5*time.Minute)), gateway.TransportStale},
		{"by password without a date, expired", with(byPassword(none), none, now.Add(-time.Second)), gateway.TransportStale},
		{"by password, created too long ago", with(byPassword(now), now.Add(-2*time.Hour), none), gateway.TransportStale},
		{"by password, created in the future", with(byPassword(now), now.Add(time.Hour), now.Add(2*time.Hour)), gateway.TransportStale},
		{"expires before it was created", with(byPassword(now), now.Add(5*time.Minute), now.Add(time.Minute)), gateway.TransportStale},
		{"signed, with a date", signed(now), ""},
		{"signed, with a date, an expired Timestamp that is not signed", with(signed(now), now.Add(-10*time.Minute), now.Add(-5*time.Minute)), gateway.TransportStale},
		{"signed, without a date", signed(none), gateway.TransportStale},
		{"signed, without a date, with a Timestamp that is not signed", with(signed(none), now, none), gateway.TransportStale},
		{"signed with its Timestamp", stamped(now, now.Add(5*time.Minute)), ""},
		{"signed with its Timestamp, without Expires", stamped(now, none), ""},
		{"signed with a Timestamp without Created", stamped(none, now.Add(time.Minute)), gateway.TransportStale},
		{"signed with an expired Timestamp", stamped(now.Add(-10*time.Minute), now.Add(-5*time.Minute)), gateway.TransportStale},
		{"signed with a Timestamp of yesterday that never expires", stamped(now.Add(-24*time.Hour), none), gateway.TransportStale},
		{"signed with a Timestamp of tomorrow", stamped(now.Add(24*time.Hour), none), gateway.TransportStale},
	}
	for name, at := range centuries() {
		tests = append(tests, struct {
			name     string
			envelope []byte
			want     gateway.Reason
		}{"created in " + name, withHeader(byPassword(now), inSecurity(strings.Replace(stampOf(now, none), now.UTC().Format(time.RFC3339Nano), at.Format(time.RFC3339Nano), 1))), gateway.TransportStale})
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			status, got := l.soap(t, "async", tt.envelope)
			if status != http.StatusOK {
				t.Errorf("status %d", status)
			}
			f, refused := got.Payload.(*shep.Fault)
			if tt.want == "" {
				if refused {
					t.Errorf("fault %s: %+v", f.Code, f.Info)
				}
				return
			}
			if !refused || f.Info == nil || (!strings.HasPrefix(f.Info.Data, string(tt.want)) && !strings.HasPrefix(f.Info.Data, string(gateway.DocumentMalformed))) {
				t.Errorf("got %+v, want %s", got.Payload, tt.want)
			}
		})
	}
	t.Run("within the window the same signed question is answered again, and after it no more", func(t *testing.T) {
		question := signed(now)
		for n := range 2 {
			if _, got := l.soap(t, "async", question); fmt.Sprintf("%T", got.Payload) != "*shep.MessagesAnswer" {
				t.Errorf("time %d: %+v", n+1, got.Payload)
			}
		}
		l.clock.HopTo(now.Add(61 * time.Minute))
		if _, got := l.soap(t, "async", question); fmt.Sprintf("%T", got.Payload) != "*shep.Fault" {
			t.Errorf("an hour later: %+v", got.Payload)
		}
	})
}

// SOAP 1.1 §4.2.3: an entry that must be understood and is not ends the message before it is worked on,
// with the fault of that name and without a detail.
func TestWhatMustBeUnderstood(t *testing.T) {
	l, _ := newTestLab(t, monday, nil)
	to := `<wsa:To xmlns:wsa="http://www.w3.org/2005/08/addressing" soap:mustUnderstand="1">urn:gateway</wsa:To>`
	for name, envelope := range map[string][]byte{
		"by password": withHeader(l.envelope(t, "", &shep.MessagesQuery{ServiceID: housing, Sender: l.egov()}), to),
		"signed":      withHeader(l.envelope(t, "system-portal", &shep.MessagesQuery{ServiceID: housing, Sender: shep.Sender{ID: "BANK"}, Date: l.clock.Now()}), to),
		"of nobody":   withHeader(l.envelope(t, "", &shep.MessagesQuery{ServiceID: housing, Sender: shep.Sender{ID: "NOBODY"}}), to),
	} {
		status, _, body := call(t, http.MethodPost, l.base+"/shep/async", envelope, "Content-Type", "text/xml", "Accept-Language", "en")
		if status != http.StatusOK || !strings.Contains(string(body), "<faultcode>soap:MustUnderstand</faultcode>") || strings.Contains(string(body), "<detail>") {
			t.Errorf("%s: %d %s", name, status, body)
		}
		if !strings.Contains(string(body), "SOAP header holds a mandatory entry") {
			t.Errorf("%s: it is not said why: %s", name, body)
		}
	}
	_, got := l.soap(t, "async", withHeader(l.envelope(t, "", &shep.MessagesQuery{ServiceID: housing, Sender: l.egov()}), strings.Replace(to, `"1"`, `"0"`, 1)))
	if _, ok := got.Payload.(*shep.MessagesAnswer); !ok {
		t.Errorf("an entry that need not be understood: %+v", got.Payload)
	}
}

// Whoever does not prove to be the sender whom he names learns nothing: not whether there is such a sender,
// nor what was wrong, nor how that sender proves itself. The operator's log tells, by configured names.
func TestRefusedSendersLearnNothing(t *testing.T) {
	var logs logBuffer
	l, err := newLab(t.TempDir(), monday, nil, slog.New(slog.NewJSONHandler(&logs, nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(l.Close)
	password := secret()
	if err := os.WriteFile(filepath.Join(l.dir, "both.password"), []byte(password), 0o600); err != nil {
		t.Fatal(err)
	}
	l.mustReconfigure(t, func(c *Config) {
		c.SHEP.Participants = append(c.SHEP.Participants,
			Participant{Name: "org.kz", SenderID: "ORG", BIN: l.pki.Must("system-portal").BIN, Services: labServices()},
			Participant{Name: "both.kz", SenderID: "BOTH", Certificates: []string{"system-portal.crt"}, PasswordFile: "both.password", Services: labServices()})
	})
	if err := l.startGateway(); err != nil {
		t.Fatal(err)
	}
	from := func(key, id, password string) []byte {
		m := l.message(text("<x/>"))
		m.ID, m.SenderID, m.Password = "one and the same", id, password
		return l.envelope(t, key, m)
	}
	varies := regexp.MustCompile(`<errorDate>[^<]*</errorDate>|<sessionId>[^<]*</sessionId>`)
	first, tests := "", []struct {
		name, cause string
		participant string
		envelope    []byte
	}{
		{"an unknown sender", "no participant has that sender id", "none", from("", "Stranger-900101300007", "x")},
		{"an unknown sender without a password", "no participant has that sender id", "none", from("", "Stranger-900101300007", "")},
		{"an unknown sender who signs", "no participant has that sender id", "none", from("system-state", "Stranger-900101300007", "")},
		{"a wrong password", "the password is wrong", "egov.kz", from("", "EGOV", "x")},
		{"no password", "the password is wrong", "egov.kz", from("", "EGOV", "")},
		{"a signature instead of the password", "the password is wrong", "egov.kz", from("system-state", "EGOV", "")},
		{"no signature", "the message is not signed", "bank.kz", from("", "BANK", "")},
		{"a password instead of the signature", "the message is not signed", "bank.kz", from("", "BANK", "x")},
		{"somebody else's signature", "the signer is not this sender", "bank.kz", from("system-state", "BANK", "")},
		{"another organisation's signature", "the signer is not this sender", "org.kz", from("system-gateway", "ORG", "")},
		{"a citizen's signature", "the signer is not this sender", "org.kz", from("citizen-01", "ORG", "")},
		{"an expired signature of somebody else", "the signer is not this sender", "org.kz", from("citizen-expired", "ORG", "")},
		{"the signature of two proofs", "the password is wrong", "both.kz", from("system-portal", "BOTH", "")},
		{"the password of two proofs", "the message is not signed", "both.kz", from("", "BOTH", password)},
	}
	for i, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			logged := len(logs.String())
			// Each from an address of its own: several wrong proofs from one are guesses.
			client := clientAt(fmt.Sprintf("127.7.1.%d", i+1))
			status, header, body := callAs(t, client, http.MethodPost, l.base+"/shep/sync", tt.envelope, "Content-Type", "text/xml")
			header.Del("X-Request-Id")
			header.Del("Date")
			got := fmt.Sprintln(status, header) + varies.ReplaceAllString(string(body), "")
			got = regexp.MustCompile(`Content-Length:\[\d+\]`).ReplaceAllString(got, "")
			if first == "" {
				first = got
			}
			if got != first {
				t.Errorf("the answer tells this one from an unknown sender:\n%s\n%s", got, first)
			}
			if !strings.Contains(got, string(gateway.PortalUnauthenticated)) || strings.Contains(got, tt.cause) {
				t.Errorf("answered %s", got)
			}
			line := logs.String()[logged:]
			if !strings.Contains(line, `"cause":"`+tt.cause) || !strings.Contains(line, `"participant":"`+tt.participant+`"`) {
				t.Errorf("the log does not say why: %s", line)
			}
			if strings.Contains(line, "Stranger") || strings.Contains(line, "900101300007") {
				t.Errorf("the log repeats what a stranger wrote: %s", line)
			}
		})
	}
}
