package statesim

import (
	"bytes"
	"crypto/sha1"
	"encoding/asn1"
	"errors"
	"io"
	"math/big"
	"net/http"
	"time"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"
)

var (
	oidBasic         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 1}
	oidNonce         = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 2}
	oidExtendedRevok = asn1.ObjectIdentifier{1, 3, 6, 1, 5, 5, 7, 48, 1, 9} // RFC 6960 §4.4.8
	oidSHA1          = asn1.ObjectIdentifier{1, 3, 14, 3, 2, 26}
	oidSHA256        = asn1.ObjectIdentifier{2, 16, 840, 1, 101, 3, 4, 2, 1}
)

// OCSP response statuses (RFC 6960 §4.2.1).
const (
	ocspMalformed    = 1
	ocspTryLater     = 3
	ocspUnauthorized = 6
)

// A certID is one certificate that was asked about.
type certID struct {
	raw               []byte // DER, echoed
	hash              asn1.ObjectIdentifier
	nameHash, keyHash []byte
	serial            *big.Int
}

// An ocspRequest is RFC 6960 §4.1.1 without requestor and signature, which are not looked at.
type ocspRequest struct {
	ids   []certID
	nonce []byte // extnValue, nil for none
}

func (w *World) serveOCSP(rw http.ResponseWriter, r *http.Request) {
	fault, ok := w.door(rw, r, TargetOCSP, ocspFaults, TargetOCSP)
	if !ok {
		return
	}
	rw.Header().Set("Content-Type", "application/ocsp-response")
	body, err := io.ReadAll(http.MaxBytesReader(rw, r.Body, 1<<16))
	if err != nil {
		return
	}
	req, err := parseOCSP(body)
	if err != nil || r.Header.Get("Content-Type") != "application/ocsp-request" {
		rw.Write(ocspError(ocspMalformed))
		return
	}
	if fault == TryLater {
		rw.Write(ocspError(ocspTryLater))
		return
	}
	a := w.responsible(req.ids)
	if a == nil {
		rw.Write(ocspError(ocspUnauthorized))
		return
	}
	der, err := w.respond(a, req, fault)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Write(der)
}

// responsible returns the authority that issued all the certificates.
func (w *World) responsible(ids []certID) *authority {
	for _, a := range w.authorities {
		all := len(ids) > 0
		for _, id := range ids {
			switch {
			case id.hash.Equal(oidSHA256):
				all = all && bytes.Equal(id.keyHash, a.keySHA2) && bytes.Equal(id.nameHash, a.name2)
			case id.hash.Equal(oidSHA1):
				all = all && bytes.Equal(id.keyHash, a.keySHA1) && bytes.Equal(id.nameHash, a.nameSHA1)
			default:
				all = false
			}
		}
		if all {
			return a
		}
	}
	return nil
}

func parseOCSP(der []byte) (ocspRequest, error) {
	bad := errors.New("not an OCSP request")
	var out ocspRequest
	in := cryptobyte.String(der)
	var req, tbs, list cryptobyte.String
	if !in.ReadASN1(&req, cbasn1.SEQUENCE) || !in.Empty() || !req.ReadASN1(&tbs, cbasn1.SEQUENCE) ||
		!tbs.SkipOptionalASN1(cbasn1.Tag(0).Constructed().ContextSpecific()) || !tbs.SkipOptionalASN1(cbasn1.Tag(1).Constructed().ContextSpecific()) ||
		!tbs.ReadASN1(&list, cbasn1.SEQUENCE) {
		return out, bad
	}
	for !list.Empty() {
		var one, raw, id, alg cryptobyte.String
		c := certID{serial: new(big.Int)}
		if !list.ReadASN1(&one, cbasn1.SEQUENCE) || !one.ReadASN1Element(&raw, cbasn1.SEQUENCE) {
			return out, bad
		}
		c.raw = raw
		if !raw.ReadASN1(&id, cbasn1.SEQUENCE) || !id.ReadASN1(&alg, cbasn1.SEQUENCE) || !alg.ReadASN1ObjectIdentifier(&c.hash) ||
			!id.ReadASN1Bytes(&c.nameHash, cbasn1.OCTET_STRING) || !id.ReadASN1Bytes(&c.keyHash, cbasn1.OCTET_STRING) || !id.ReadASN1Integer(c.serial) {
			return out, bad
		}
		out.ids = append(out.ids, c)
	}
	var wrapped, exts cryptobyte.String
	var has bool
	if !tbs.ReadOptionalASN1(&wrapped, &has, cbasn1.Tag(2).Constructed().ContextSpecific()) {
		return out, bad
	}
	if has && !wrapped.ReadASN1(&exts, cbasn1.SEQUENCE) {
		return out, bad
	}
	for !exts.Empty() {
		var ext, value cryptobyte.String
		var oid asn1.ObjectIdentifier
		if !exts.ReadASN1(&ext, cbasn1.SEQUENCE) || !ext.ReadASN1ObjectIdentifier(&oid) || !ext.SkipOptionalASN1(cbasn1.BOOLEAN) || !ext.ReadASN1(&value, cbasn1.OCTET_STRING) {
			return out, bad
		}
		if oid.Equal(oidNonce) {
			out.nonce = value
		}
	}
	return out, nil
}

func ocspError(status int64) []byte {
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddASN1Enum(status) })
	return b.BytesOrPanic()
}

// respond signs a basic response as the NCA's responders do: no nextUpdate, the responder by its
// key, its certificate included, the nonce's value as it came.
func (w *World) respond(a *authority, req ocspRequest, fault FaultKind) ([]byte, error) {
	now := w.c.Now().UTC().Truncate(time.Second)
	switch fault {
	case Stale:
		now = now.Add(-7 * 24 * time.Hour)
	case Future:
		now = now.Add(24 * time.Hour)
	}
	signer := a.Responder
	if fault == ForeignSigner {
		signer = w.c.Foreign
	}
	var spki struct {
		Algorithm asn1.RawValue
		Key       asn1.BitString
	}
	if _, err := asn1.Unmarshal(a.responder.RawSubjectPublicKeyInfo, &spki); err != nil {
		return nil, err
	}
	keyHash := sha1.Sum(spki.Key.Bytes)

	var tbs cryptobyte.Builder
	never := false
	tbs.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1(cbasn1.Tag(2).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddASN1OctetString(keyHash[:]) })
		b.AddASN1GeneralizedTime(now)
		b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
			for _, id := range req.ids {
				r := a.lookup(id.serial)
				never = never || r.State == NeverIssued
				if fault == WrongCertID {
					// The serial number is the last integer of the CertID.
					id.raw = append([]byte(nil), id.raw...)
					id.raw[len(id.raw)-1] ^= 1
				}
				b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { single(b, id, r, now) })
			}
		})
		nonce := req.nonce
		switch {
		case fault == NoNonce:
			nonce = nil
		case fault == WrongNonce && len(nonce) > 0:
			nonce = append([]byte(nil), nonce...)
			nonce[len(nonce)-1] ^= 1
		}
		if nonce == nil && !never {
			return
		}
		b.AddASN1(cbasn1.Tag(1).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				if nonce != nil {
					extension(b, oidNonce, nonce)
				}
				if never {
					extension(b, oidExtendedRevok, []byte{5, 0})
				}
			})
		})
	})
	data, err := tbs.Bytes()
	if err != nil {
		return nil, err
	}
	signature, err := signer.sign(data)
	if err != nil {
		return nil, err
	}
	if fault == BadSignature {
		signature = damage(signature)
	}
	var basic cryptobyte.Builder
	basic.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddBytes(data)
		signer.algorithm(b)
		b.AddASN1BitString(signature)
		b.AddASN1(cbasn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) { b.AddBytes(signer.Certificate) })
		})
	})
	answer, err := basic.Bytes()
	if err != nil {
		return nil, err
	}
	var b cryptobyte.Builder
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1Enum(0)
		b.AddASN1(cbasn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
			b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(oidBasic)
				b.AddASN1OctetString(answer)
			})
		})
	})
	return b.Bytes()
}

// single writes a SingleResponse's content.
func single(b *cryptobyte.Builder, id certID, r Revocation, now time.Time) {
	b.AddBytes(id.raw)
	switch r.State {
	case Good:
		b.AddASN1(cbasn1.Tag(0).ContextSpecific(), func(*cryptobyte.Builder) {})
	case Unknown:
		b.AddASN1(cbasn1.Tag(2).ContextSpecific(), func(*cryptobyte.Builder) {})
	default:
		b.AddASN1(cbasn1.Tag(1).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) {
			b.AddASN1GeneralizedTime(r.At.UTC())
			if code := reasonCodes[r.Reason]; code != 0 {
				b.AddASN1(cbasn1.Tag(0).Constructed().ContextSpecific(), func(b *cryptobyte.Builder) { b.AddASN1Enum(int64(code)) })
			}
		})
	}
	b.AddASN1GeneralizedTime(now)
}

func extension(b *cryptobyte.Builder, oid asn1.ObjectIdentifier, value []byte) {
	b.AddASN1(cbasn1.SEQUENCE, func(b *cryptobyte.Builder) {
		b.AddASN1ObjectIdentifier(oid)
		b.AddASN1OctetString(value)
	})
}

// lookup returns what is known of a serial number.
func (a *authority) lookup(serial *big.Int) Revocation {
	a.mu.Lock()
	defer a.mu.Unlock()
	r, ok := a.state[serial.String()]
	switch {
	case !ok:
		return Revocation{State: Good}
	case r.State == NeverIssued:
		r.Reason, r.At = "certificateHold", time.Unix(0, 0)
	}
	return r
}

func (w *World) serveCRL(rw http.ResponseWriter, r *http.Request) {
	isDelta, named := crlName(r.PathValue("file"))
	a := w.authority(r.PathValue("authority"))
	if a == nil || !named {
		http.NotFound(rw, r)
		return
	}
	fault, ok := w.door(rw, r, TargetCRL, crlFaults, TargetCRL)
	if !ok {
		return
	}
	der, err := w.list(a, isDelta, fault)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusInternalServerError)
		return
	}
	rw.Header().Set("Content-Type", "application/pkix-crl")
	rw.Write(der)
}

func (w *World) list(a *authority, isDelta bool, fault FaultKind) ([]byte, error) {
	now := w.c.Now()
	base, delta, err := a.crls(now, w.c.CRLLife)
	if err != nil {
		return nil, err
	}
	switch fault {
	case BadSignature:
		base, delta = damage(base), damage(delta)
	case Stale, Future:
		at := now.Add(-2 * w.c.CRLLife)
		if fault == Future {
			at = now.Add(w.c.CRLLife)
		}
		a.mu.Lock()
		defer a.mu.Unlock()
		if isDelta {
			return a.crl(a.deltaNo, at, w.c.CRLLife/4, nil, nil, a.baseNo)
		}
		return a.crl(a.baseNo, at, w.c.CRLLife, a.state, nil, 0)
	}
	if isDelta {
		return delta, nil
	}
	return base, nil
}
