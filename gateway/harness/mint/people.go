package mint

import (
	"crypto"
	"crypto/sha256"
	"crypto/x509/pkix"
	"encoding/asn1"
	"fmt"
	"hash/fnv"
	"math/big"

	testpki "egov-gateway/certs-testdata"
	"egov-gateway/gateway"
	"egov-gateway/gateway/harness"
	"egov-gateway/gateway/xmlsig"
)

// A person sends requests; outcome and ground are what the simulated providers decide.
type person struct {
	harness.Person
	kind    string
	key     *xmlsig.Key
	outcome gateway.ResultKind
	ground  string
}

// populate lists the people whose requests are accepted, with the levels that the simulator's own
// world gives those of the PKI: citizen-06 earns too much, the registers know citizen-07 by
// another name and citizen-08 not at all.
func (g *Generator) populate() error {
	fates := map[string]string{"citizen-06": "income-above-threshold", "citizen-07": "data-unreliable", "citizen-08": "data-unreliable"}
	for _, id := range []string{"citizen-01", "gost-citizen-01", "citizen-02", "gost-citizen-02", "citizen-03", "gost-citizen-03", "citizen-04", "gost-citizen-04", "citizen-05", "citizen-06", "citizen-07", "citizen-08"} {
		e := g.pki.Must(id)
		k, err := xmlsig.NewKey(e.DER, e.Signer)
		if err != nil {
			return err
		}
		p := person{Person: personOf(e), kind: signerOf(e).kind, key: k, outcome: gateway.ResultAssignment}
		if ground := fates[id]; ground != "" {
			p.outcome, p.ground = gateway.ResultRefusal, ground
		}
		g.people = append(g.people, p)
	}
	for n := len(g.people); n < g.c.Citizens; n++ {
		p, err := g.born(n)
		if err != nil {
			return err
		}
		g.people = append(g.people, p)
	}
	return nil
}

func personOf(e *testpki.Entry) harness.Person {
	return harness.Person{IIN: e.IIN, Surname: e.Surname, GivenName: e.Name, Patronymic: e.Patronymic}
}

// born makes a citizen of the nineteenth century with a certificate: that of a citizen of the PKI
// with another subject and serial number.
func (g *Generator) born(n int) (person, error) {
	kind, id, authority := RSA, fmt.Sprintf("citizen-%02d", 1+n/2%8), "issuing"
	if n%2 == 1 {
		kind, id, authority = GOST, fmt.Sprintf("gost-citizen-%02d", 1+n/2%4), "gost-issuing"
	}
	model, ca := g.pki.Must(id), g.pki.Must(authority)
	iin, err := numberOf(g.c.Seed, n)
	if err != nil {
		return person{}, err
	}
	p := person{Person: harness.Person{IIN: iin}, kind: kind, outcome: gateway.ResultAssignment}
	p.Surname, p.GivenName = nameOf(iin)
	subject, err := asn1.Marshal(pkix.Name{CommonName: "TEST ONLY " + p.Surname, SerialNumber: "IIN" + iin, Country: []string{"KZ"}}.ToRDNSequence())
	if err != nil {
		return person{}, err
	}
	g.office.n++
	serial, err := asn1.Marshal(big.NewInt(g.office.n))
	if err != nil {
		return person{}, err
	}
	c := split(model.DER)
	c.tbs[atSerial], c.tbs[atSubject] = serial, subject
	var cert []byte
	if kind == GOST {
		cert = c.sealed(ca.Signer, crypto.Hash(0), testpki.NewGOSTDigest())
	} else {
		cert = c.sealed(ca.Signer, crypto.SHA256, sha256.New())
	}
	p.key, err = xmlsig.NewKey(cert, model.Signer)
	return p, err
}

// numberOf makes an IIN of 1850 to 1899 that no citizen of the PKI has.
func numberOf(seed uint64, n int) (string, error) {
	day := n + int(seed%1000)*50
	eleven := fmt.Sprintf("%02d%02d%02d%d%04d", 50+day%50, 1+day/50%12, 1+day/600%28, 1+n%2, 5000+n/16800%5000)
	for d := range 10 {
		if _, err := gateway.ParseIIN(fmt.Sprint(eleven, d)); err == nil {
			return fmt.Sprint(eleven, d), nil
		}
	}
	// One in eleven numbers has no check digit: the next day's has.
	return numberOf(seed, n+5_000_000)
}

// nameOf is the name under which the simulated registers know somebody whom nobody told them of.
func nameOf(iin string) (surname, name string) {
	h := fnv.New32a()
	h.Write([]byte(iin + "/name"))
	n := int(h.Sum32() >> 1)
	surname, name = []string{"СЫНАҚОВ", "ТЕСТОВ", "ҮЛГІБАЕВ", "ПРИМЕРОВ"}[n%4], []string{"ӘЛИ", "БОРИС", "ӨМІР", "ТИМУР"}[n/4%4]
	if iin[6] == '2' {
		surname, name = surname+"А", []string{"ӘСЕМ", "ВЕРА", "ҚЫМБАТ", "ЮЛИЯ"}[n/4%4]
	}
	return surname, name
}
