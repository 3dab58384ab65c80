package loadsim

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"

	"egov-gateway/adapters/statesim"
)

// Stand-ins of the question that the patterns are taken with. Model is a citizen whom Outside's
// configuration must list with a level of low, so that most registers have a record.
const (
	Model       = "501231190006"
	modelBorn   = "1850-12-31"
	messageID   = "11111111-2222-4333-8444-555555555555"
	correlation = "66666666-7777-4888-8999-aaaaaaaaaaaa"
)

// patterns are a state system's answers, by the kind of record that was asked for; "" is that of
// a system with one kind.
type patterns struct{ byKind map[string]pattern }

// A pattern is an answer cut where a question's own words go.
type pattern struct {
	between [][]byte
	slots   []slot // one fewer
}

type slot int

const (
	slotIIN slot = iota
	slotBorn
	slotMessage
	slotCorrelation
)

func takePatterns(outside *statesim.World, system string) (*patterns, error) {
	p := &patterns{byKind: map[string]pattern{}}
	kinds := []string{""}
	if system == "gbdfl" {
		kinds = []string{"identity", "address"}
	}
	for _, kind := range kinds {
		rec := httptest.NewRecorder()
		outside.Handler().ServeHTTP(rec, httptest.NewRequest(http.MethodPost, "/shep/"+system, strings.NewReader(question(system, kind))))
		if rec.Code != http.StatusOK {
			return nil, fmt.Errorf("no pattern of %s: %d %s", kind, rec.Code, rec.Body)
		}
		cut, err := cutOut(rec.Body.Bytes())
		if err != nil {
			return nil, err
		}
		p.byKind[kind] = cut
	}
	return p, nil
}

// question is what a gateway asks, with the stand-ins.
func question(system, kind string) string {
	business := `<request xmlns="urn:egov-gateway:register:` + system + `:1"><messageId>` + messageID + `</messageId><messageDate>2026-11-02T11:00:00.000+05:00</messageDate><senderCode>G</senderCode><iin>` + Model +
		`</iin><kdpToken>c</kdpToken></request>`
	data, property := `<data>`+strings.NewReplacer("<", "&lt;", ">", "&gt;").Replace(business)+`</data>`, ""
	if kind != "" {
		property = `<properties><key>recordKind</key><value>` + kind + `</value></properties>`
		data = `<data xmlns:cs="http://message.persistence.interactive.nat" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="cs:Request"><messageId>` + messageID +
			`</messageId><messageDate>2026-11-02T11:00:00.000+05:00</messageDate><senderCode>G</senderCode><iin>` + Model + `</iin><kdpToken>c</kdpToken><publicKey>key</publicKey></data>`
	}
	return `<soap:Envelope xmlns:soap="http://schemas.xmlsoap.org/soap/envelope/"><soap:Body><n:SendMessage xmlns:n="http://bip.bee.kz/SyncChannel/v10/Types"><request><requestInfo><messageId>` + messageID +
		`</messageId><correlationId>` + correlation + `</correlationId><serviceId>TEST</serviceId><messageDate>2026-11-02T11:00:00.000+05:00</messageDate><sender><senderId>g</senderId><password>p</password></sender>` +
		property + `</requestInfo><requestData>` + data + `</requestData></request></n:SendMessage></soap:Body></soap:Envelope>`
}

// cutOut finds the stand-ins in an answer.
func cutOut(answer []byte) (pattern, error) {
	var p pattern
	words := map[slot]string{slotIIN: Model, slotBorn: modelBorn, slotMessage: messageID, slotCorrelation: correlation}
	seen := map[slot]bool{}
	for {
		first, which := -1, slot(0)
		for s, word := range words {
			if at := bytes.Index(answer, []byte(word)); at >= 0 && (first < 0 || at < first) {
				first, which = at, s
			}
		}
		if first < 0 {
			break
		}
		p.between, p.slots = append(p.between, answer[:first]), append(p.slots, which)
		seen[which] = true
		answer = answer[first+len(words[which]):]
	}
	p.between = append(p.between, answer)
	if !seen[slotIIN] || !seen[slotMessage] || !seen[slotCorrelation] {
		return p, errors.New("the answer does not repeat what was asked")
	}
	return p, nil
}

// answer fills the pattern for a question; nil when it is none.
func (p *patterns) answer(q []byte) []byte {
	chain, rest, ok := element(q, "correlationId")
	kind := []byte(nil)
	if len(p.byKind) > 1 {
		_, kind, _ = bytes.Cut(rest, []byte("<key>recordKind</key>"))
		kind, _, _ = element(kind, "value")
	}
	// The business message is typed XML or escaped text.
	_, business, found := bytes.Cut(rest, []byte("<requestData>"))
	message, _, asked := element(business, "messageId")
	iin, _, named := element(business, "iin")
	pattern, known := p.byKind[string(kind)]
	if !ok || !found || !asked || !named || !known || len(iin) != 12 {
		return nil
	}
	born := "18" + string(iin[:2]) + "-" + string(iin[2:4]) + "-" + string(iin[4:6])
	out := make([]byte, 0, 4096)
	for i, s := range pattern.slots {
		out = append(out, pattern.between[i]...)
		switch s {
		case slotIIN:
			out = append(out, iin...)
		case slotBorn:
			out = append(out, born...)
		case slotMessage:
			out = append(out, message...)
		case slotCorrelation:
			out = append(out, chain...)
		}
	}
	return append(out, pattern.between[len(pattern.between)-1]...)
}

// element returns the text of the next element of that local name, written as XML or escaped, and what
// follows it.
func element(b []byte, name string) (text, rest []byte, ok bool) {
	for _, form := range []struct{ from, to string }{{"<" + name + ">", "</"}, {"&lt;" + name + "&gt;", "&lt;/"}} {
		if _, after, found := bytes.Cut(b, []byte(form.from)); found {
			text, rest, ok = bytes.Cut(after, []byte(form.to))
			return text, rest, ok
		}
	}
	return nil, b, false
}
