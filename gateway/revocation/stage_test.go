package revocation_test

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/asn1"
	"errors"
	"math/big"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/revocation"
	"egov-gateway/gateway/trust"
	"egov-gateway/gateway/xmlsig/gost"
)

// The answers and lists of these tests are written here, octet by octet, so that they can be
// wrong in every way and share no code with what reads them.

var now = testpki.At

// load reads the test PKI once; checking forty private keys takes milliseconds.
var load = sync.OnceValues(testpki.Load)

func pki(t testing.TB) *testpki.PKI {
	t.Helper()
	p, err := load()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func certificate(t testing.TB, der []byte) *trust.Certificate {
	t.Helper()
	c, err := trust.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func pathOf(t testing.TB, p *testpki.PKI, ids ...string) *trust.Path {
	t.Helper()
	path := new(trust.Path)
	for _, id := range ids {
		path.Certificates = append(path.Certificates, certificate(t, p.Must(id).DER))
	}
	return path
}

func tlv(tag byte, parts ...[]byte) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.Tag(tag), func(b *cryptobyte.Builder) {
		for _, p := range parts {
			b.AddBytes(p)
		}
	})
	return b.BytesOrPanic()
}

func oid(arcs ...int) []byte {
	b, err := asn1.Marshal(asn1.ObjectIdentifier(arcs))
	if err != nil {
		panic(err)
	}
	return b
}

// elementsOf splits the content of one DER element.
func elementsOf(element []byte) (list [][]byte) {
	in := cryptobyte.String(element)
	var tag cbasn1.Tag
	var body, one cryptobyte.String
	if !in.ReadAnyASN1(&body, &tag) {
		panic("not DER")
	}
	for !body.Empty() {
		if !body.ReadAnyASN1Element(&one, &tag) {
			panic("not DER")
		}
		list = append(list, one)
	}
	return list
}

func general(t time.Time) []byte { return tlv(0x18, []byte(t.UTC().Format("20060102150405Z"))) }

func extension(critical bool, id []byte, value []byte) []byte {
	if critical {
		return tlv(0x30, id, []byte{1, 1, 0xff}, tlv(0x04, value))
	}
	return tlv(0x30, id, tlv(0x04, value))
}

func integer(magnitude []byte) []byte {
	b, err := asn1.Marshal(new(big.Int).SetBytes(magnitude))
	if err != nil {
		panic(err)
	}
	return b
}

var (
	null      = []byte{5, 0}
	sha256RSA = tlv(0x30, oid(1, 2, 840, 113549, 1, 1, 11), null)
	nonceOID  = oid(1, 3, 6, 1, 5, 5, 7, 48, 1, 2)
)

var gostSignature = tlv(0x30, oid(1, 2, 398, 3, 10, 1, 1, 2, 3, 2), null)

// algorithmOf is what a key signs with when nothing else is wanted.
func algorithmOf(key crypto.Signer) []byte {
	if _, ok := key.(*gost.PrivateKey); ok {
		return gostSignature
	}
	return sha256RSA
}

func sealed(tbs, alg []byte, key crypto.Signer, hash crypto.Hash, more ...[]byte) []byte {
	h := gost.NewStreebog512()
	if _, ok := key.(*gost.PrivateKey); !ok {
		h = hash.New()
	}
	h.Write(tbs)
	sig, err := key.Sign(rand.Reader, h.Sum(nil), hash)
	if err != nil {
		panic(err)
	}
	return tlv(0x30, append([][]byte{tbs, alg, tlv(0x03, []byte{0}, sig)}, more...)...)
}

// An answer is an OCSP response to be made; its zero value besides the names is good and now.
type answer struct {
	issuer  *testpki.Entry // about whose certificates; the issuing CA unless set
	subject *testpki.Entry
	signer  *testpki.Entry // who signs and is embedded; the delegated responder unless set

	singles    []single // one of status good unless set
	producedAt time.Time
	nonce      []byte // octets to echo; nil echoes what was asked
	noNonce    bool

	byKey, noEmbedded, extendedRevoke bool
	responderName                     []byte // instead of the signer's
	embedded                          []byte // instead of the signer
	responseExtensions                [][]byte
	sha1Signature                     bool
	algorithm                         []byte // instead of the key's
	mangle                            func([]byte) []byte
}

type single struct {
	status     byte // 'g', 'r', 'u'
	reason     int  // -1: none
	at         time.Time
	thisUpdate time.Time
	nextUpdate time.Time
	serial     []byte
	sha1       bool
	spoilName  bool
	spoilKey   bool
	extensions [][]byte
}

func revokedFor(reason int) []single {
	return []single{{status: 'r', reason: reason, at: now.AddDate(0, -1, 0)}}
}

func spki(e *testpki.Entry) []byte {
	var info struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(e.X509().RawSubjectPublicKeyInfo, &info); err != nil {
		panic(err)
	}
	return info.Key.Bytes
}

func (a answer) make(p *testpki.PKI, asked []byte) []byte {
	if a.issuer == nil {
		a.issuer = p.Must("issuing")
	}
	if a.subject == nil {
		a.subject = p.Must("citizen-01")
	}
	if a.signer == nil {
		a.signer = p.Must("ocsp-responder")
	}
	if a.producedAt.IsZero() {
		a.producedAt = now
	}
	if len(a.singles) == 0 {
		a.singles = []single{{status: 'g'}}
	}
	id := tlv(0xa1, a.signer.X509().RawSubject)
	if a.responderName != nil {
		id = tlv(0xa1, a.responderName)
	}
	if a.byKey {
		sum := sha1.Sum(spki(a.signer))
		id = tlv(0xa2, tlv(0x04, sum[:]))
	}
	var list [][]byte
	for _, s := range a.singles {
		list = append(list, s.make(a))
	}
	extensions := a.responseExtensions
	if a.nonce == nil {
		a.nonce = asked
	}
	if !a.noNonce && a.nonce != nil {
		extensions = append(extensions, extension(false, nonceOID, tlv(0x04, a.nonce)))
	}
	if a.extendedRevoke {
		extensions = append(extensions, extension(false, oid(1, 3, 6, 1, 5, 5, 7, 48, 1, 9), null))
	}
	data := [][]byte{id, general(a.producedAt), tlv(0x30, list...)}
	if len(extensions) > 0 {
		data = append(data, tlv(0xa1, tlv(0x30, extensions...)))
	}
	var certs [][]byte
	if a.embedded == nil {
		a.embedded = a.signer.DER
	}
	if !a.noEmbedded {
		certs = append(certs, tlv(0xa0, tlv(0x30, a.embedded)))
	}
	alg, hash := algorithmOf(a.signer.Signer), crypto.SHA256
	if a.algorithm != nil {
		alg = a.algorithm
	}
	if a.sha1Signature {
		alg, hash = tlv(0x30, oid(1, 2, 840, 113549, 1, 1, 5), null), crypto.SHA1
	}
	basic := sealed(tlv(0x30, data...), alg, a.signer.Signer, hash, certs...)
	out := tlv(0x30, []byte{0x0a, 1, 0}, tlv(0xa0, tlv(0x30, oid(1, 3, 6, 1, 5, 5, 7, 48, 1, 1), tlv(0x04, basic))))
	if a.mangle != nil {
		out = a.mangle(out)
	}
	return out
}

func (s single) make(a answer) []byte {
	sum, alg := func(b []byte) []byte { h := sha256.Sum256(b); return h[:] }, oid(2, 16, 840, 1, 101, 3, 4, 2, 1)
	if s.sha1 {
		sum, alg = func(b []byte) []byte { h := sha1.Sum(b); return h[:] }, oid(1, 3, 14, 3, 2, 26)
	}
	name, key := sum(a.issuer.X509().RawSubject), sum(spki(a.issuer))
	if s.spoilName {
		name[0] ^= 1
	}
	if s.spoilKey {
		key[0] ^= 1
	}
	if s.serial == nil {
		s.serial = a.subject.X509().SerialNumber.Bytes()
	}
	if s.thisUpdate.IsZero() {
		s.thisUpdate = now
	}
	var status []byte
	switch s.status {
	case 'g':
		status = []byte{0x80, 0}
	case 'u':
		status = []byte{0x82, 0}
	case 'r':
		body := general(s.at)
		if s.reason >= 0 {
			body = append(body, tlv(0xa0, []byte{0x0a, 1, byte(s.reason)})...)
		}
		status = tlv(0xa1, body)
	}
	parts := [][]byte{tlv(0x30, tlv(0x30, alg, null), tlv(0x04, name), tlv(0x04, key), integer(s.serial)), status, general(s.thisUpdate)}
	if !s.nextUpdate.IsZero() {
		parts = append(parts, tlv(0xa0, general(s.nextUpdate)))
	}
	if s.extensions != nil {
		parts = append(parts, tlv(0xa1, tlv(0x30, s.extensions...)))
	}
	return tlv(0x30, parts...)
}

// A list is a CRL to be made; its zero value is a full, empty list of now, number 5.
type list struct {
	issuer     *testpki.Entry // the issuing CA unless set
	key        crypto.Signer  // signs; the issuer's unless set
	number     int            // 0 means 5, -1 none
	base       int            // number of the base for a delta; 0 means a full list
	thisUpdate time.Time
	nextUpdate time.Time // zero: a week after thisUpdate
	noNext     bool
	revoked    []item
	extensions [][]byte
	innerPlain bool // no NULL in the signed algorithm, as the NCA does
	mangle     func([]byte) []byte
}

type item struct {
	serial     []byte
	reason     int // -1 none
	extensions [][]byte
}

func serialOf(e *testpki.Entry) []byte { return e.X509().SerialNumber.Bytes() }

func (l list) make(p *testpki.PKI) []byte {
	if l.issuer == nil {
		l.issuer = p.Must("issuing")
	}
	if l.key == nil {
		l.key = l.issuer.Signer
	}
	if l.thisUpdate.IsZero() {
		l.thisUpdate = now.Add(-time.Hour)
	}
	if l.nextUpdate.IsZero() {
		l.nextUpdate = l.thisUpdate.AddDate(0, 0, 7)
	}
	if l.number == 0 {
		l.number = 5
	}
	utc := func(t time.Time) []byte { return tlv(0x17, []byte(t.UTC().Format("060102150405Z"))) }
	alg := algorithmOf(l.issuer.Signer)
	if l.innerPlain {
		alg = tlv(0x30, elementsOf(alg)[0])
	}
	body := [][]byte{{2, 1, 1}, alg, l.issuer.X509().RawSubject, utc(l.thisUpdate)}
	if !l.noNext {
		body = append(body, utc(l.nextUpdate))
	}
	var entries [][]byte
	for _, i := range l.revoked {
		parts := [][]byte{integer(i.serial), utc(now.AddDate(0, -1, 0))}
		extensions := i.extensions
		if i.reason >= 0 {
			extensions = append(extensions, extension(false, oid(2, 5, 29, 21), []byte{0x0a, 1, byte(i.reason)}))
		}
		if len(extensions) > 0 {
			parts = append(parts, tlv(0x30, extensions...))
		}
		entries = append(entries, tlv(0x30, parts...))
	}
	if len(entries) > 0 {
		body = append(body, tlv(0x30, entries...))
	}
	extensions := append([][]byte{extension(false, oid(2, 5, 29, 35), tlv(0x30, tlv(0x80, l.issuer.X509().SubjectKeyId)))}, l.extensions...)
	if l.number > 0 {
		extensions = append(extensions, extension(false, oid(2, 5, 29, 20), integer([]byte{byte(l.number)})))
	}
	if l.base > 0 {
		extensions = append(extensions, extension(true, oid(2, 5, 29, 27), integer([]byte{byte(l.base)})))
	}
	body = append(body, tlv(0xa0, tlv(0x30, extensions...)))
	out := sealed(tlv(0x30, body...), algorithmOf(l.issuer.Signer), l.key, crypto.SHA256)
	if l.mangle != nil {
		out = l.mangle(out)
	}
	return out
}

// A stage is the outside world of one checker: what is behind each URL, and the clock.
type stage struct {
	t   testing.TB
	pki *testpki.PKI

	mu      sync.Mutex // guards all below
	clock   time.Time
	answers map[string]func(ctx context.Context, nonce []byte) ([]byte, error)
	crls    map[string][]byte
	asked   atomic.Int64
}

const (
	ocspURL, ocspURL2  = "ocsp://one", "ocsp://two"
	crlURL, deltaURL   = "crl://full", "crl://delta"
	rootCRL, rootOCSP  = "crl://root", "ocsp://root"
	otherCRL, secondCA = "crl://second", "ocsp://second"
)

var errAway = errors.New("connection refused")

func newStage(t testing.TB) *stage {
	s := &stage{t: t, pki: pki(t), clock: now, answers: map[string]func(context.Context, []byte) ([]byte, error){}, crls: map[string][]byte{}}
	s.crls[rootCRL] = list{issuer: s.pki.Must("root")}.make(s.pki)
	return s
}

func (s *stage) now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.clock
}

func (s *stage) set(clock time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = clock
}

func (s *stage) answer(url string, a answer) {
	s.respond(url, func(_ context.Context, nonce []byte) ([]byte, error) { return a.make(s.pki, nonce), nil })
}

func (s *stage) respond(url string, f func(ctx context.Context, nonce []byte) ([]byte, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.answers[url] = f
}

func (s *stage) publish(url string, raw []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.crls[url] = raw
}

func (s *stage) fetch(ctx context.Context, url string, body []byte) ([]byte, error) {
	s.mu.Lock()
	respond, raw, has := s.answers[url], s.crls[url], false
	_, has = s.crls[url]
	s.mu.Unlock()
	if body != nil {
		s.asked.Add(1)
		if respond == nil {
			return nil, errAway
		}
		return respond(ctx, nonceOf(s.t, body))
	}
	if !has {
		return nil, errAway
	}
	return raw, nil
}

// nonceOf finds the nonce in a request with the standard library's reader.
func nonceOf(t testing.TB, request []byte) []byte {
	var r struct {
		TBS struct {
			List []struct {
				ID struct {
					Hash struct {
						OID  asn1.ObjectIdentifier
						Null asn1.RawValue `asn1:"optional"`
					}
					Name, Key []byte
					Serial    *big.Int
				}
			}
			Extensions []struct {
				ID    asn1.ObjectIdentifier
				Value []byte
			} `asn1:"explicit,tag:2,optional"`
		}
	}
	if rest, err := asn1.Unmarshal(request, &r); err != nil || len(rest) > 0 || len(r.TBS.List) != 1 {
		t.Errorf("the request is no OCSPRequest for one certificate: %v", err)
		return nil
	}
	for _, e := range r.TBS.Extensions {
		var nonce []byte
		if rest, err := asn1.Unmarshal(e.Value, &nonce); err == nil && len(rest) == 0 {
			return nonce
		}
	}
	t.Error("the request has no nonce")
	return nil
}

// checker makes one with the usual issuers; edit may change the configuration.
func (s *stage) checker(edit func(*revocation.Config)) *revocation.Checker {
	s.t.Helper()
	c := revocation.Config{
		Issuers: []revocation.Issuer{
			{Certificate: certificate(s.t, s.pki.Must("issuing").DER), Label: "issuing", OCSP: []string{ocspURL}, CRL: crlURL, DeltaCRL: deltaURL},
			{Certificate: certificate(s.t, s.pki.Must("root").DER), Label: "root", CRL: rootCRL},
		},
		Fetch: s.fetch, Now: s.now, OCSPTimeout: 10 * time.Second /* a busy machine is not a silent responder */, Hedge: 40 * time.Millisecond,
	}
	if edit != nil {
		edit(&c)
	}
	k, err := revocation.New(c)
	if err != nil {
		s.t.Fatal(err)
	}
	return k
}

// refreshed loads the lists; that some are missing is part of many tests.
func (s *stage) refreshed(edit func(*revocation.Config)) *revocation.Checker {
	k := s.checker(edit)
	_ = k.Refresh(context.Background())
	return k
}

func (s *stage) check(k *revocation.Checker, ids ...string) (revocation.Evidence, error) {
	if len(ids) == 0 {
		ids = []string{"citizen-01", "issuing", "root"}
	}
	return k.Check(context.Background(), pathOf(s.t, s.pki, ids...), s.now())
}

func wantReason(t testing.TB, err error, want gateway.Reason) {
	t.Helper()
	if got := gateway.ReasonOf(err); got != want {
		t.Errorf("%q (%v), want %q", got, err, want)
	}
}
