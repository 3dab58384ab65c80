package xmlsig

import (
	"crypto/sha256"
	"crypto/subtle"
	"hash"
	"io"
	"slices"
	"sync"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// A Profile is a form of signature that [Verify] and [Sign] know.
type Profile string

const (
	// ProfileDocument is one enveloped signature over the whole document.
	ProfileDocument Profile = "document"
	// ProfileCoSigned is one or more of them, each over everything before it, the earlier
	// signatures included.
	ProfileCoSigned Profile = "co-signed"
	// ProfileWSSE is a WS-Security signature over the SOAP Body, and over the wsu:Timestamp beside the
	// signature where it has a second reference.
	ProfileWSSE Profile = "wsse"
)

// Options say what [Verify] accepts. The zero value is the profile of a citizen's document.
type Options struct {
	Profile Profile // "" means ProfileDocument
	Limits  Limits
	// AllowGOST2004 accepts GOST 34.310-2004, the algorithm of the past.
	AllowGOST2004 bool
	// Certificates spares parsing a known signer's certificate; nil parses each time.
	Certificates *CertificateCache
	// Known are the partners' certificates that a message of ProfileWSSE may name by issuer and
	// serial number instead of carrying them. Only the serial number is compared: the
	// certificate is trusted for being configured, not for its issuer's name.
	Known []*trust.Certificate
}

// A Signature is one verified signature.
type Signature struct {
	Certificate *trust.Certificate // the signer's; nothing is known yet of its path or validity
	Algorithm   string             // name of the signature method
	KeyKind     trust.KeyKind
}

// Signed is what was signed: a view of the very tokens that were hashed. It is immutable and
// safe for concurrent use.
type Signed struct {
	doc  Document
	root int32
	// Of a SOAP message, as element number + 1: 0 is none.
	header, stamp int32
	sigs          []Signature
	one           [1]Signature // sigs and doc.hidden of the usual single signature, without an allocation
	hide          [1]int32
	sum           [sha256.Size]byte
}

// Root returns the document's element without its signatures; of a SOAP message the Body that
// was signed. Comments are not shown: they are not signed.
func (s *Signed) Root() Element { return Element{&s.doc, s.root + 1} }

// Header returns the Header of a SOAP message, no element if there is none. Nothing in it is signed but
// what Timestamp returns.
func (s *Signed) Header() Element { return s.handle(s.header) }

// Timestamp returns the wsu:Timestamp that was signed beside the Body of a SOAP message, no element if
// none was: the very tokens that were hashed.
func (s *Signed) Timestamp() Element { return s.handle(s.stamp) }

func (s *Signed) handle(n int32) Element {
	if n == 0 {
		return Element{}
	}
	return Element{&s.doc, n}
}

// Signatures returns the signatures in signing order, at least one.
func (s *Signed) Signatures() []Signature { return slices.Clone(s.sigs) }

// ContentSHA256 returns the SHA-256 of the canonical bytes that the first signature refers to.
// It names the content: the same for every document that says the same.
func (s *Signed) ContentSHA256() [sha256.Size]byte { return s.sum }

// Release gives the memory back, as [Document.Release] does.
func (s *Signed) Release() { s.doc.Release() }

// Verify checks the signature, or signatures, of doc. It says nothing of the certificates'
// path, validity, purpose or revocation.
//
// doc must not change while the result is used. The error carries one of the
// gateway.Document* and gateway.Signature* reasons, [gateway.DigestMismatch], or the reason of
// a certificate that cannot be read.
func Verify(doc []byte, o Options) (*Signed, error) { return verify(doc, o, nil) }

// own is the content that [Sign] has just digested: the same canonical bytes, as their SHA-256
// tells, have the same digest.
type own struct {
	sha256 [sha256.Size]byte
	digest []byte
}

// verify is Verify; with known, a single signature's content need not be digested again.
func verify(doc []byte, o Options, known *own) (*Signed, error) {
	s := new(Signed)
	if err := s.doc.scan(doc, o.Limits); err != nil {
		return nil, err
	}
	v := verifiers.Get().(*verifier)
	v.d, v.o, v.own = &s.doc, o, known
	err := v.profile(s)
	v.free()
	if err != nil {
		s.doc.Release()
		return nil, err
	}
	s.doc.signed = true
	return s, nil
}

func (v *verifier) profile(s *Signed) error {
	v.c.out.left = canonicalRoom(len(v.d.src), 1)
	switch v.o.Profile {
	case ProfileDocument, "":
		return v.document(s)
	case ProfileCoSigned:
		return v.coSigned(s)
	case ProfileWSSE:
		return v.wsse(s)
	}
	return gateway.Errorf(gateway.ConfigInvalid, "no such signature profile")
}

// A verifier is the working memory of one verification at a time. Nothing in it outlives the
// call but room, so that a verdict never depends on the one before.
type verifier struct {
	d       *Document
	o       Options
	own     *own // for [Sign] alone
	c       canonicalizer
	hashes  [trust.GOST94 + 1]hash.Hash
	text    []byte
	value   []byte // decoded SignatureValue
	der     []byte // decoded certificate
	digest  []byte // decoded DigestValue
	sum     []byte // computed digest
	list    []int32
	infoPL  []int32
	refPL   []int32
	content [sha256.Size]byte
	trace   *trace // for [Explain] alone
}

var verifiers = sync.Pool{New: func() any { return new(verifier) }}

func (v *verifier) free() {
	v.d, v.o, v.own = nil, Options{}, nil
	v.c.trim()
	v.text, v.value, v.der, v.digest = kept(v.text), kept(v.value), kept(v.der), kept(v.digest)
	v.list, v.infoPL, v.refPL = kept(v.list), kept(v.infoPL), kept(v.refPL)
	verifiers.Put(v)
}

func (v *verifier) fail(r gateway.Reason, n int32, what string) error {
	return gateway.Errorf(r, "line %d: %s", lineOf(v.d.src, int(v.d.tape.name(n))), what)
}

// hash returns an empty hash, nil for one that this build cannot compute.
func (v *verifier) hash(h trust.Hash) hash.Hash {
	if v.hashes[h] == nil {
		v.hashes[h] = h.New()
	} else {
		v.hashes[h].Reset()
	}
	return v.hashes[h]
}

// signatures lists every Signature element of the document, in document order.
func (v *verifier) signatures() []int32 {
	v.list = v.list[:0]
	uri := v.d.tape.spaces.find([]byte(dsigURI))
	if uri < 0 {
		return nil
	}
	for i := range v.d.tape.elements {
		e := &v.d.tape.elements[i]
		if e.space == uri && string(v.d.localName(int32(i))) == "Signature" {
			v.list = append(v.list, int32(i))
		}
	}
	return v.list
}

func (v *verifier) document(s *Signed) error {
	sigs := v.signatures()
	switch {
	case len(sigs) == 0:
		return gateway.Errorf(gateway.SignatureMissing, "the document holds no signature")
	case len(sigs) > 1:
		return v.fail(gateway.SignatureMultiple, sigs[1], "a second signature")
	}
	s.sigs = s.one[:1]
	if err := v.enveloped(sigs, &s.one[0]); err != nil {
		return err
	}
	s.sum = v.content
	s.hide[0] = sigs[0]
	s.doc.hidden = s.hide[:]
	return nil
}

// coSigned checks the last signature over everything before it, then the one before as if the
// last had never been added, and so on to the first.
func (v *verifier) coSigned(s *Signed) error {
	sigs := v.signatures()
	switch {
	case len(sigs) == 0:
		return gateway.Errorf(gateway.SignatureMissing, "the document holds no signature")
	case len(sigs) > maxSignatures:
		return v.fail(gateway.SignatureMultiple, sigs[maxSignatures], "too many signatures")
	}
	for _, n := range sigs {
		if v.d.tape.elements[n].parent != 0 {
			return v.fail(gateway.SignatureMisplaced, n, "a signature that is no child of the root element")
		}
	}
	v.c.out.left = canonicalRoom(len(v.d.src), len(sigs))
	s.sigs = make([]Signature, len(sigs))
	for k := len(sigs) - 1; k >= 0; k-- {
		if err := v.enveloped(sigs[k:], &s.sigs[k]); err != nil {
			return err
		}
	}
	s.sum = v.content
	s.doc.hidden = slices.Clone(sigs)
	return nil
}

// enveloped checks omit[0] over the document without all of omit.
func (v *verifier) enveloped(omit []int32, out *Signature) error {
	n := omit[0]
	if v.d.tape.elements[n].parent != 0 {
		return v.fail(gateway.SignatureMisplaced, n, "the signature is not a child of the root element")
	}
	var p parts
	if err := v.parse(n, &p); err != nil {
		return err
	}
	if len(p.uri) > 0 {
		if err := v.refersTo(p.reference, p.uri, 0, ""); err != nil {
			return err
		}
	}
	if !p.enveloped {
		return v.fail(gateway.SignatureTransform, p.reference, "the first transform is not enveloped-signature")
	}
	der, err := v.embeddedCertificate(p.keyInfo)
	if err != nil {
		return err
	}
	cert, err := v.certificate(der)
	if err != nil {
		return err
	}
	if v.trace != nil {
		*v.trace = trace{p: p, omit: slices.Clone(omit)}
	}
	return v.check(&p, cert, out, func(w, also io.Writer) error {
		return v.c.document(v.d, p.c14n, omit, w, also)
	})
}

// check does the cryptography: the digest of what the reference names, then the signature
// over SignedInfo (XML Signature 1.1 §3.2).
func (v *verifier) check(p *parts, cert *trust.Certificate, out *Signature, canonical func(w, also io.Writer) error) error {
	if cert.Key.Kind() != p.method.kind {
		return v.fail(gateway.SignatureKeyMismatch, p.self, "the certificate's key is not of the kind that the signature method names")
	}
	if err := v.digestContent(p.digest, canonical); err != nil {
		return err
	}
	if subtle.ConstantTimeCompare(v.sum, v.digest) != 1 {
		return v.fail(gateway.DigestMismatch, p.reference, "the digest of the signed content is not the stated one")
	}
	h := v.hash(p.method.hash)
	if err := v.c.subtree(v.d, p.info, p.infoC14N, h, nil); err != nil {
		return err
	}
	v.sum = h.Sum(v.sum[:0])
	if err := cert.Key.VerifyDigest(p.method.hash, v.sum, v.value); err != nil {
		return err
	}
	v.o.Certificates.put(cert)
	*out = Signature{Certificate: cert, Algorithm: p.algorithm, KeyKind: p.method.kind}
	return nil
}

// digestContent computes sum and content.
func (v *verifier) digestContent(by trust.Hash, canonical func(w, also io.Writer) error) error {
	content := v.hash(trust.SHA256)
	if by == trust.SHA256 {
		err := canonical(content, nil)
		content.Sum(v.content[:0])
		v.sum = append(v.sum[:0], v.content[:]...)
		return err
	}
	if v.own != nil {
		left := v.c.out.left
		if err := canonical(content, nil); err != nil {
			return err
		}
		if content.Sum(v.content[:0]); v.content == v.own.sha256 {
			v.sum = append(v.sum[:0], v.own.digest...)
			return nil
		}
		content.Reset()
		v.c.out.left = left
	}
	h := v.hash(by)
	err := canonical(h, content)
	content.Sum(v.content[:0])
	v.sum = h.Sum(v.sum[:0])
	return err
}

// certificate parses the certificate in der, which it does not keep, unless it is known. What is
// not yet believed is not remembered: check does that.
func (v *verifier) certificate(der []byte) (*trust.Certificate, error) {
	if cert := v.o.Certificates.get(der); cert != nil {
		return cert, nil
	}
	return trust.ParseCertificate(der)
}
