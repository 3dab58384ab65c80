package shep

import (
	"strings"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig"
)

// OpenOptions say what [Open] accepts.
type OpenOptions struct {
	MaxBytes int // of the envelope; required
	// Known are partners' certificates that a message may name by issuer and serial number.
	Known []*trust.Certificate
	// Certificates spares parsing a known signer's certificate; nil parses each time.
	Certificates *xmlsig.CertificateCache
	// AllowGOST2004 accepts GOST 34.310-2004, the algorithm of the past.
	AllowGOST2004 bool
}

// An Opened message is one whose transport signature is right, or that has none.
type Opened struct {
	Payload Payload
	// Signer is who signed the Body; nil when the message is not signed. Nothing is known yet of
	// whether the certificate is trusted: that is the transport's verdict, apart from any verdict
	// about signatures inside the data.
	Signer *trust.Certificate
	// Content is the SHA-256 of the canonical Body; zero when the message is not signed.
	Content [32]byte
	// Timestamp is the time that the message's WS-Security header states; nobody has compared it yet.
	Timestamp Timestamp
}

// Open reads an envelope and checks its WS-Security signature, if there is one. What it returns
// was read from the very Body, and the very Timestamp, that were signed.
//
// The error carries [gateway.TransportWrong] for a signature that is wrong or does not cover the
// Body, which is read by nobody then; [gateway.HeaderNotUnderstood] for a header entry that must be
// understood and is not; a document reason for what is no message of the contract.
func Open(doc []byte, o OpenOptions) (Opened, error) {
	l := limits(o.MaxBytes)
	signed, err := xmlsig.Verify(doc, xmlsig.Options{Profile: xmlsig.ProfileWSSE, Limits: l, AllowGOST2004: o.AllowGOST2004, Certificates: o.Certificates, Known: o.Known})
	reason := gateway.ReasonOf(err)
	switch {
	case err == nil:
		defer signed.Release()
		stamp, err := readHeader(signed.Header(), signed.Timestamp())
		if err != nil {
			return Opened{}, err
		}
		p, err := Read(signed.Root())
		if err != nil {
			return Opened{}, err
		}
		return Opened{Payload: p, Signer: signed.Signatures()[0].Certificate, Content: signed.ContentSHA256(), Timestamp: stamp}, nil
	case reason == gateway.SignatureMissing:
		return openUnsigned(doc, l)
	case strings.HasPrefix(string(reason), "document.") || reason.Class() != gateway.Permanent:
		return Opened{}, err
	}
	// Where there is no envelope there is no transport that could be signed.
	d, scanErr := xmlsig.Scan(doc, l)
	if scanErr != nil {
		return Opened{}, scanErr
	}
	defer d.Release()
	if !d.Root().Is(nsSOAP, "Envelope") {
		_, err := bodyOf(d)
		return Opened{}, err
	}
	return Opened{}, gateway.Errorf(gateway.TransportWrong, "%w", err)
}

func openUnsigned(doc []byte, l xmlsig.Limits) (Opened, error) {
	d, err := xmlsig.Scan(doc, l)
	if err != nil {
		return Opened{}, err
	}
	defer d.Release()
	body, err := bodyOf(d)
	if err != nil {
		return Opened{}, err
	}
	header, _ := d.Root().Child(nsSOAP, "Header")
	stamp, err := readHeader(header, xmlsig.Element{})
	if err != nil {
		return Opened{}, err
	}
	p, err := Read(body)
	return Opened{Payload: p, Timestamp: stamp}, err
}

// Seal signs the Body of an envelope (WS-Security, X.509 token inline), as SHEP's participants
// do.
func Seal(envelope []byte, k *xmlsig.Key) ([]byte, error) {
	return xmlsig.Sign(envelope, k, xmlsig.SignOptions{Profile: xmlsig.ProfileWSSE})
}
