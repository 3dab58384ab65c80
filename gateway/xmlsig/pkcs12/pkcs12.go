// Package pkcs12 reads key files as the National Certification Authority gives them out
// (PKCS #12, RFC 7292): BER with indefinite lengths, keys under triple DES, certificates under
// RC2 with 40 bits, a SHA-1 MAC. What other programs write is read too: DER, AES with PBKDF2,
// SHA-2 MACs.
//
// These ciphers keep a key file from nobody who has time: its password is no substitute for
// keeping the file where nobody reads it. Nothing here is constant-time.
package pkcs12

import (
	"crypto/hmac"

	"golang.org/x/crypto/cryptobyte"
	cbasn1 "golang.org/x/crypto/cryptobyte/asn1"

	"egov-gateway/gateway"
	"egov-gateway/gateway/trust"
)

// Contents is what a file holds, in its order.
type Contents struct {
	Keys         [][]byte // PrivateKeyInfo (RFC 5208) in DER
	Certificates [][]byte // as they stand in the file
}

func malformed(what string) error {
	return gateway.Errorf(gateway.ConfigInvalid, "the key file is not PKCS #12: %s", what)
}

// Open checks the file's MAC with the password, and decrypts it. A file without a MAC is
// refused: nothing would tell a wrong password or a changed certificate. The error carries
// [gateway.ConfigInvalid].
func Open(data []byte, password string) (*Contents, error) {
	if len(data) > MaxBytes {
		return nil, malformed("it is too long")
	}
	der, ok := derOf(data)
	if !ok {
		return nil, malformed("its outer structure is broken")
	}
	in := cryptobyte.String(der)
	var pfx, mac, safe cryptobyte.String
	var version int
	if !in.ReadASN1(&pfx, cbasn1.SEQUENCE) || !pfx.ReadASN1Integer(&version) || version != 3 {
		return nil, malformed("its version is not 3")
	}
	kind, content, ok := readContent(&pfx)
	if !ok || kind != idData || !content.ReadASN1(&safe, cbasn1.OCTET_STRING) || !content.Empty() {
		return nil, malformed("its content is not protected by a password alone")
	}
	if pfx.Empty() {
		return nil, gateway.Errorf(gateway.ConfigInvalid, "the key file has no MAC")
	}
	if !pfx.ReadASN1(&mac, cbasn1.SEQUENCE) || !pfx.Empty() {
		return nil, malformed("its MAC")
	}
	if err := checkMAC(mac, safe, password); err != nil {
		return nil, err
	}
	c := new(Contents)
	return c, c.safes(safe, password)
}

const (
	idData          = "1.2.840.113549.1.7.1"
	idEncryptedData = "1.2.840.113549.1.7.6"
)

// readContent reads one ContentInfo (RFC 5652 §3).
func readContent(s *cryptobyte.String) (kind trust.OID, content cryptobyte.String, ok bool) {
	var seq cryptobyte.String
	ok = s.ReadASN1(&seq, cbasn1.SEQUENCE) && trust.ReadOID(&seq, &kind) &&
		seq.ReadASN1(&content, cbasn1.Tag(0).Constructed().ContextSpecific()) && seq.Empty()
	return kind, content, ok
}

// checkMAC is RFC 7292 §4 MacData and appendix A.
func checkMAC(mac, safe cryptobyte.String, password string) error {
	var info, want, salt cryptobyte.String
	var alg trust.Algorithm
	iterations := 1
	if !mac.ReadASN1(&info, cbasn1.SEQUENCE) || !trust.ReadAlgorithm(&info, &alg) || !info.ReadASN1(&want, cbasn1.OCTET_STRING) || !info.Empty() ||
		!mac.ReadASN1(&salt, cbasn1.OCTET_STRING) || !mac.Empty() && !mac.ReadASN1Integer(&iterations) || !mac.Empty() {
		return malformed("its MAC")
	}
	newHash := hashOf(alg.ID)
	if newHash == nil {
		return gateway.Errorf(gateway.ConfigInvalid, "the key file's MAC is made with %s, which is not read", alg.ID)
	}
	if err := checkIterations(iterations); err != nil {
		return err
	}
	h := hmac.New(newHash, derive(newHash, forMAC, bmpString(password), salt, iterations, newHash().Size()))
	h.Write(safe)
	if !hmac.Equal(h.Sum(nil), want) {
		return gateway.Errorf(gateway.ConfigInvalid, "the password of the key file is wrong, or the file was changed")
	}
	return nil
}

// safes reads AuthenticatedSafe (RFC 7292 §4.1).
func (c *Contents) safes(safe []byte, password string) error {
	list, ok := readList(safe)
	for ok && !list.Empty() {
		var kind trust.OID
		var content, bags cryptobyte.String
		if kind, content, ok = readContent(&list); !ok {
			break
		}
		switch kind {
		case idData:
			if ok = content.ReadASN1(&bags, cbasn1.OCTET_STRING) && content.Empty(); !ok {
				continue
			}
		case idEncryptedData:
			plain, err := openEncryptedData(content, password)
			if err != nil {
				return err
			}
			bags = plain
		default:
			return malformed("a safe that no password opens")
		}
		if err := c.bags(bags, password, 0); err != nil {
			return err
		}
	}
	if !ok {
		return malformed("the list of its safes")
	}
	return nil
}

// readList reads a SEQUENCE that may be in BER.
func readList(ber []byte) (list cryptobyte.String, ok bool) {
	der, ok := derOf(ber)
	s := cryptobyte.String(der)
	return list, ok && s.ReadASN1(&list, cbasn1.SEQUENCE)
}

// openEncryptedData reads EncryptedData (RFC 5652 §8).
func openEncryptedData(content cryptobyte.String, password string) ([]byte, error) {
	var seq, info, cipherText cryptobyte.String
	var version int
	var kind trust.OID
	var alg trust.Algorithm
	ok := content.ReadASN1(&seq, cbasn1.SEQUENCE) && content.Empty() && seq.ReadASN1Integer(&version) &&
		seq.ReadASN1(&info, cbasn1.SEQUENCE) && trust.ReadOID(&info, &kind) && kind == idData && trust.ReadAlgorithm(&info, &alg)
	if !ok {
		return nil, malformed("an encrypted safe")
	}
	// An implicitly tagged octet string: in BER it may come in pieces.
	if primitive := cbasn1.Tag(0).ContextSpecific(); info.PeekASN1Tag(primitive) {
		ok = info.ReadASN1(&cipherText, primitive)
	} else if ok = info.ReadASN1(&cipherText, primitive.Constructed()); ok {
		cipherText, ok = joined(cipherText)
	}
	if !ok || !info.Empty() {
		return nil, malformed("an encrypted safe")
	}
	return decrypt(alg, password, cipherText)
}

// bags reads SafeContents (RFC 7292 §4.2).
func (c *Contents) bags(safe []byte, password string, depth int) error {
	list, ok := readList(safe)
	for ok && !list.Empty() {
		var bag, value cryptobyte.String
		var kind trust.OID
		if ok = list.ReadASN1(&bag, cbasn1.SEQUENCE) && trust.ReadOID(&bag, &kind) && bag.ReadASN1(&value, cbasn1.Tag(0).Constructed().ContextSpecific()); !ok {
			break
		}
		switch kind {
		case "1.2.840.113549.1.12.10.1.1": // keyBag
			c.Keys = append(c.Keys, value)
		case "1.2.840.113549.1.12.10.1.2": // pkcs8ShroudedKeyBag
			var seq, cipherText cryptobyte.String
			var alg trust.Algorithm
			if ok = value.ReadASN1(&seq, cbasn1.SEQUENCE) && trust.ReadAlgorithm(&seq, &alg) && seq.ReadASN1(&cipherText, cbasn1.OCTET_STRING) && seq.Empty(); !ok {
				continue
			}
			plain, err := decrypt(alg, password, cipherText)
			if err != nil {
				return err
			}
			if plain, ok = derOf(plain); ok {
				c.Keys = append(c.Keys, plain)
			}
		case "1.2.840.113549.1.12.10.1.3": // certBag
			var seq, cert, octets cryptobyte.String
			var form trust.OID
			if ok = value.ReadASN1(&seq, cbasn1.SEQUENCE) && trust.ReadOID(&seq, &form) && seq.ReadASN1(&cert, cbasn1.Tag(0).Constructed().ContextSpecific()) && cert.ReadASN1(&octets, cbasn1.OCTET_STRING); ok && form == "1.2.840.113549.1.9.22.1" {
				c.Certificates = append(c.Certificates, octets)
			}
		case "1.2.840.113549.1.12.10.1.6": // safeContentsBag
			if depth == 4 {
				return malformed("safes inside safes")
			}
			if err := c.bags(value, password, depth+1); err != nil {
				return err
			}
		}
		// Lists of revoked certificates and secrets of other kinds are of no use here.
	}
	if !ok {
		return malformed("the contents of a safe")
	}
	return nil
}
