package channel

import (
	"context"
	"slices"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/intake"
	"egov-gateway/gateway/passport"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/verification"
	"egov-gateway/gateway/xmlsig"
)

// sendMessage is the SyncChannel: a request is answered with its receipt, a question for status
// or result with the document. What is not there is no fault but the status SCSE001.
func (c *call) sendMessage(ctx context.Context, m *shep.Message) (shep.Payload, error) {
	what, err := c.readBusiness(ctx, m.Data)
	if err != nil {
		return nil, err
	}
	id, doc, err := c.answer(ctx, what)
	r := &shep.Response{ID: shep.NewID(), CorrelationID: m.CorrelationID, Date: c.now, SessionID: shep.NewSession(), Status: shep.Status{Code: shep.CodeSuccess, Message: "Message has been processed successfully"}}
	switch {
	case gateway.ReasonOf(err) == gateway.NotFound:
		r.Status = shep.Status{Code: shep.CodeNotFound, Message: c.c.Texts.Reason(c.lang, gateway.NotFound)}
		return r, nil
	case err != nil:
		return nil, err
	}
	if err := c.place.Reserve(answerTimes * int64(len(doc))); err != nil {
		return nil, err
	}
	if r.CorrelationID == "" {
		r.CorrelationID = shep.Chain(id)
	}
	r.Data = shep.Data{Form: shep.FormString, Document: doc}
	return r, nil
}

func (c *call) readBusiness(ctx context.Context, d shep.Data) (b business, err error) {
	err = c.place.Work(ctx, func() (err error) {
		b, err = readBusiness(d, c.c.MaxBytes)
		return err
	})
	return b, err
}

func (c *call) answer(ctx context.Context, what business) (gateway.RequestID, []byte, error) {
	if what.submission != nil {
		ad, err := c.admit(ctx, what.submission)
		if err != nil {
			return "", nil, err
		}
		return ad.Item.ID, ad.Receipt, nil
	}
	id := what.statusOf + what.resultOf
	for _, portal := range c.party.Portals {
		p, err := c.c.Desk.Progress(ctx, portal, id)
		if gateway.ReasonOf(err) == gateway.NotFound {
			continue
		}
		if err != nil {
			return "", nil, err
		}
		var doc []byte
		if what.statusOf != "" {
			doc, err = status(p)
		} else {
			doc, err = c.c.Desk.Document(ctx, portal, id, gateway.BodyResult)
		}
		return p.ID, doc, err
	}
	return "", nil, gateway.Errorf(gateway.NotFound, "no request of this portal has that id")
}

// admit hands a citizen's request to the desk.
func (c *call) admit(ctx context.Context, s *submission) (*intake.Admission, error) {
	in := intake.Submission{Door: "shep-" + c.address, Party: c.party.Name, Document: s.request, Files: s.files}
	switch {
	case s.portal == "" && len(s.receipt) == 0 && len(c.party.Portals) > 0:
		in.Portal = c.party.Portals[0]
	case !c.party.Gateway:
		return nil, malformed("only another gateway names portal and receipt")
	case !slices.Contains(c.party.Portals, s.portal):
		return nil, gateway.Errorf(gateway.PortalUnauthenticated, "this gateway does not relay for that portal")
	default:
		in.Portal = s.portal
		var err error
		if in.Relayed, err = c.relayed(ctx, s.receipt); err != nil {
			return nil, err
		}
	}
	// The service that SHEP's register names must be the one that the citizen signed for; the desk
	// has checked the form by then, so only what it would accept can be asked here.
	if err := c.place.Work(ctx, func() error {
		if code, ok := serviceCode(s.request); ok && code != c.service {
			return gateway.Errorf(gateway.ServiceUnknown, "the form is not of the service that serviceId names")
		}
		return nil
	}); err != nil {
		return nil, err
	}
	return c.c.Desk.Take(ctx, in)
}

// serviceCode reads a form's service before anybody verified it: it can only lead to a refusal.
func serviceCode(request []byte) (string, bool) {
	doc, err := xmlsig.Scan(request, xmlsig.Limits{MaxBytes: len(request), Elements: shep.MaxElements})
	if err != nil {
		return "", false // the desk says what is wrong
	}
	defer doc.Release()
	code, ok := passport.Field(doc.Root(), "serviceCode")
	return strings.TrimSpace(code), ok
}

// relayed reads the receipt with which another gateway hands a request on. Its signer must be
// the participant itself.
func (c *call) relayed(ctx context.Context, receipt []byte) (*intake.Relayed, error) {
	var signed *xmlsig.Signed
	if err := c.place.Work(ctx, func() (err error) {
		signed, err = xmlsig.Verify(receipt, xmlsig.Options{Certificates: c.certificates})
		return err
	}); err != nil {
		return nil, err
	}
	root := signed.Root()
	cert := signed.Signatures()[0].Certificate
	if !slices.ContainsFunc(c.party.Certificates, cert.Equal) {
		if c.party.Organisation.IsZero() {
			return nil, gateway.Errorf(gateway.NotAnchored, "the receipt is not signed by this gateway")
		}
		out := c.c.Verifier.JudgeCertificate(ctx, cert, verification.Want{At: c.now, Purpose: trust.PurposeInformationSystem, Organisation: c.party.Organisation})
		if err := out.Verdict.Err(); err != nil {
			return nil, err
		}
	}
	at, atOK := passport.Field(root, "receivedAt")
	sum, sumOK := passport.Field(root, "contentSha256")
	when, err := time.Parse(time.RFC3339Nano, at)
	if !root.Is("urn:egov-gateway:receipt:1", "receipt") || !atOK || !sumOK || err != nil ||
		when.After(c.now.Add(FutureWindow)) || when.Before(c.now.Add(-KeepRelayed)) {
		return nil, malformed("the receipt of the other gateway cannot be used")
	}
	return &intake.Relayed{At: when, ContentSHA256: sum}, nil
}
