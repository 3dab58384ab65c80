package statesim

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"time"

	"github.com/beevik/etree"
	dsig "github.com/russellhaering/goxmldsig"
)

// stepXML is schemas/step.xsd, signed by the executor.
func stepXML(p *provider, d delivery, code string, at time.Time) ([]byte, error) {
	requestID := d.requestID
	root := etree.NewElement("step")
	root.CreateAttr("xmlns", "urn:egov-gateway:step:1")
	leaf(root, "requestId", requestID)
	leaf(root, "code", code)
	leaf(root, "completedAt", at.In(almaty).Format(time.RFC3339))
	// The office that registers a complaint gives number and official (S 9-1).
	if d.service == complaint && code == "register" {
		r := root.CreateElement("registration")
		leaf(r, "number", "TEST-"+at.In(almaty).Format("2006")+"-"+requestID[:6])
		leaf(r, "acceptedBy", "ТЕСТОВ Т.Т.")
	}
	return Sign(root, p.Executor)
}

// complaint is the service code of a complaint.
const complaint = "complaint"

// resultXML is schemas/result.xsd, signed by the head or by whom the fault says.
func (w *World) resultXML(p *provider, requestID string, d decision, fault FaultKind, second bool) ([]byte, error) {
	now := w.c.Now().In(almaty)
	number := "TEST-" + requestID[:8]
	if second {
		number += "-2"
		d.amount++
	}
	if fault == OtherRequest {
		sum := sha256.Sum256([]byte(requestID))
		requestID = hex.EncodeToString(sum[:16])
	}
	root := etree.NewElement("result")
	root.CreateAttr("xmlns", "urn:egov-gateway:result:1")
	leaf(root, "requestId", requestID)
	leaf(root, "number", number)
	leaf(root, "decidedAt", now.Format(time.RFC3339))
	leaf(root, "providerBin", p.BIN)
	texts(root.CreateElement("providerName"), p.NameKK, p.NameRU, "")
	if d.outcome != "" {
		a := root.CreateElement("answer")
		leaf(a, "outcome", d.outcome)
		texts(a.CreateElement("explanation"), d.kk, d.ru, d.en)
	} else if d.ground == "" {
		a := root.CreateElement("assignment")
		leaf(a, "monthlyAmount", fmt.Sprintf("%.2f", d.amount))
		from := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, almaty)
		leaf(a, "periodFrom", from.Format(time.DateOnly))
		leaf(a, "periodTo", from.AddDate(1, 0, -1).Format(time.DateOnly))
	} else {
		r := root.CreateElement("refusal")
		leaf(r, "ground", d.ground)
		texts(r.CreateElement("explanation"), d.kk, d.ru, d.en)
	}
	signer := p.Head
	switch fault {
	case WrongSigner:
		signer = w.c.Wrong
	case ForeignBIN:
		signer = w.c.Foreign
	case ExpiredSigner:
		signer = w.c.Expired
	case Unsigned:
		return document(root)
	}
	out, err := Sign(root, signer)
	if fault == Tampered {
		out = bytes.Replace(out, []byte("<number>"), []byte("<number>!"), 1)
	}
	return out, err
}

func texts(el *etree.Element, kk, ru, en string) {
	leaf(el, "kk", kk)
	leaf(el, "ru", ru)
	if en != "" {
		leaf(el, "en", en)
	}
}

// Sign returns root as a document with an enveloped signature as its last child: RSA with
// SHA-256, inclusive Canonical XML 1.0, the signer's certificate alone in KeyInfo.
func Sign(root *etree.Element, signer Identity) ([]byte, error) {
	ctx, err := dsig.NewSigningContext(signer.Signer, [][]byte{signer.Certificate})
	if err != nil {
		return nil, fmt.Errorf("statesim: sign: %w", err)
	}
	ctx.Canonicalizer = dsig.MakeC14N10RecCanonicalizer()
	if err := ctx.SetSignatureMethod(dsig.RSASHA256SignatureMethod); err != nil {
		return nil, fmt.Errorf("statesim: sign: %w", err)
	}
	signed, err := ctx.SignEnveloped(root)
	if err != nil {
		return nil, fmt.Errorf("statesim: sign: %w", err)
	}
	return document(signed)
}
