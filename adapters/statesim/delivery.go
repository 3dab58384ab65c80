package statesim

import (
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

const (
	nsDelivery = "urn:egov-gateway:delivery:1"
	nsRequest  = "urn:egov-gateway:housing-aid:request:1"
)

// A provider with what it has taken.
type provider struct {
	Provider
	taken map[string]*job // by request id; guarded by World.mu
}

// A delivery is what a provider needs of schemas/delivery.xsd.
type delivery struct {
	requestID  string
	service    string
	content    string // hex SHA-256 of the canonical signed content
	registered time.Time
	steps      []deliveredStep
	request    *etree.Element
	records    []record
}

type deliveredStep struct {
	code string
	due  time.Time
}

type record struct {
	kind, status string
	data         *etree.Element // nil for none
}

var requestID = regexp.MustCompile(`^[0-9a-f]{32}$`)

func (w *World) serveDelivery(rw http.ResponseWriter, r *http.Request) {
	p, ok := w.providers[r.PathValue("provider")]
	if !ok {
		http.NotFound(rw, r)
		return
	}
	fault, ok := w.door(rw, r, p.ID, deliveryFaults, TargetProviders, p.ID)
	if !ok {
		return
	}
	id := r.PathValue("request")
	token, bearer := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	switch {
	case !bearer || subtle.ConstantTimeCompare([]byte(token), []byte(p.Token)) != 1:
		refuse(rw, http.StatusUnauthorized, "the token is not this provider's")
		return
	case !requestID.MatchString(id) || r.Header.Get("Idempotency-Key") != id:
		refuse(rw, http.StatusBadRequest, "Idempotency-Key must be the request id of the path")
		return
	case fault == Reject:
		refuse(rw, http.StatusUnprocessableEntity, "rejected on demand")
		return
	}
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, maxBody))
	if err != nil {
		return
	}
	d, err := w.readDelivery(body)
	if err != nil {
		w.c.Log.Warn("statesim: delivery refused", "provider", p.ID, "request", id, "error", err)
		refuse(rw, http.StatusUnprocessableEntity, err.Error())
		return
	}
	if d.requestID != id {
		refuse(rw, http.StatusUnprocessableEntity, "the delivery is of another request")
		return
	}
	pace, _ := w.strike(paceFaults, TargetProviders, p.ID)
	status := w.take(p, d, pace)
	if status == http.StatusConflict {
		refuse(rw, status, "the request was delivered before with other content")
		return
	}
	writeJSON(rw, status, map[string]string{"requestId": id, "status": "accepted"})
}

func refuse(rw http.ResponseWriter, status int, why string) {
	writeJSON(rw, status, map[string]string{"error": why})
}

// take records a delivery: 201 the first time, 200 for the same again, 409 for other content.
func (w *World) take(p *provider, d delivery, pace FaultKind) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if j, ok := p.taken[d.requestID]; ok {
		if j.content != d.content {
			j.state.Conflicts++
			return http.StatusConflict
		}
		j.state.Deliveries++
		return http.StatusOK
	}
	j := w.plan(p, d, pace)
	p.taken[d.requestID] = j
	w.jobs = append(w.jobs, j)
	select {
	case w.wake <- struct{}{}:
	default:
	}
	return http.StatusCreated
}

// readDelivery checks signature and structure. What was signed is what is read.
func (w *World) readDelivery(body []byte) (delivery, error) {
	if w.gateway == nil {
		return delivery{}, errors.New("no gateway certificate is configured")
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(body); err != nil || doc.Root() == nil {
		return delivery{}, errors.New("the delivery is not XML")
	}
	ctx := dsig.NewDefaultValidationContext(&dsig.MemoryX509CertificateStore{Roots: []*x509.Certificate{w.gateway}})
	ctx.Clock = dsig.NewFakeClockAt(w.c.Now())
	ctx.IdAttribute = "Id"
	signed, err := ctx.Validate(doc.Root())
	if err != nil {
		return delivery{}, fmt.Errorf("the gateway's signature: %w", err)
	}
	canonical, err := dsig.MakeC14N10RecCanonicalizer().Canonicalize(signed)
	if err != nil {
		return delivery{}, err
	}
	sum := sha256.Sum256(canonical)
	d := delivery{content: hex.EncodeToString(sum[:])}

	if signed.Tag != "delivery" || signed.NamespaceURI() != nsDelivery {
		return delivery{}, errors.New("the root is not a delivery")
	}
	want := []string{"requestId", "serviceCode", "passportVersion", "providerId", "shard", "registeredAt", "dueAt", "steps", "signedRequest", "records", "attachments"}
	got := signed.ChildElements()
	for i, name := range want {
		if i >= len(got) || got[i].Tag != name || got[i].NamespaceURI() != nsDelivery {
			return delivery{}, fmt.Errorf("%s is missing or out of order", name)
		}
	}
	if len(got) != len(want) {
		return delivery{}, errors.New("the delivery holds more than it may")
	}
	d.requestID = text(signed, "requestId")
	if !requestID.MatchString(d.requestID) {
		return delivery{}, errors.New("requestId is not 32 hex digits")
	}
	d.service = text(signed, "serviceCode")
	if d.registered, err = time.Parse(time.RFC3339Nano, text(signed, "registeredAt")); err != nil {
		return delivery{}, errors.New("registeredAt is not a date and time")
	}
	for _, s := range path(signed, nsDelivery, "steps").ChildElements() {
		due, err := time.Parse(time.RFC3339Nano, text(s, "dueAt"))
		if err != nil || s.Tag != "step" || text(s, "code") == "" {
			return delivery{}, errors.New("a step is incomplete")
		}
		d.steps = append(d.steps, deliveredStep{text(s, "code"), due})
	}
	if len(d.steps) == 0 {
		return delivery{}, errors.New("no steps")
	}
	if d.request, err = embedded(text(signed, "signedRequest")); err != nil {
		return delivery{}, fmt.Errorf("signedRequest: %w", err)
	}
	for _, el := range path(signed, nsDelivery, "records").ChildElements() {
		r := record{kind: text(el, "kind"), status: text(el, "status")}
		if data := text(el, "data"); data != "" {
			if r.data, err = embedded(data); err != nil {
				return delivery{}, fmt.Errorf("record %s: %w", r.kind, err)
			}
		}
		if (r.status == "found") != (r.data != nil) {
			return delivery{}, fmt.Errorf("record %s: status and data contradict each other", r.kind)
		}
		d.records = append(d.records, r)
	}
	for _, el := range path(signed, nsDelivery, "attachments").ChildElements() {
		data, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text(el, "data")), ""))
		sum := sha256.Sum256(data)
		if err != nil || hex.EncodeToString(sum[:]) != text(el, "sha256") {
			return delivery{}, errors.New("an attachment is not the one whose SHA-256 is given")
		}
	}
	return d, nil
}

// embedded reads a base64 document.
func embedded(s string) (*etree.Element, error) {
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(s), ""))
	if err != nil {
		return nil, errors.New("not base64")
	}
	doc := etree.NewDocument()
	if err := doc.ReadFromBytes(raw); err != nil || doc.Root() == nil {
		return nil, errors.New("not XML")
	}
	return doc.Root(), nil
}
