// Package gbdfl asks ГБД ФЛ, the register of natural persons, for a person's identity document
// and registered address, through its universal service with a consent token.
//
// Names and structure are those of the published service (schemas/registers/gbdfl.xsd); the
// codes of its dictionaries are not public.
package gbdfl

import (
	"errors"
	"fmt"
	"slices"

	"egov-gateway/adapters/register"
	"egov-gateway/gateway"
	"egov-gateway/gateway/shep"
	"egov-gateway/gateway/xmlsig"
)

const (
	nsMessage = "http://message.persistence.interactive.nat"
	nsXSI     = "http://www.w3.org/2001/XMLSchema-instance"
)

// Config says where the register is and who asks.
type Config struct {
	register.Config
	// PublicKey is the one that belongs to the consent tokens, as the service wants it.
	PublicKey string
}

// A Source asks the register. It is safe for concurrent use.
type Source struct{ *register.Register }

// New checks c and makes a Source.
func New(c Config) (*Source, error) {
	form := register.Form{Travels: shep.FormTyped, Ask: ask(c.PublicKey), Frame: frame, Record: record}
	r, err := register.New("gbdfl", []gateway.RecordKind{gateway.RecordIdentity, gateway.RecordAddress}, form, c.Config)
	if err != nil {
		return nil, err
	}
	return &Source{r}, nil
}

func ask(publicKey string) func(*shep.Writer, register.Header) {
	return func(w *shep.Writer, h register.Header) {
		w.Start("data", "xmlns:cs", nsMessage, "xmlns:xsi", nsXSI, "xsi:type", "cs:Request")
		w.Leaf("messageId", h.MessageID)
		w.Leaf("messageDate", shep.FormatDate(h.Date))
		w.Leaf("senderCode", h.Sender)
		w.Leaf("iin", h.IIN.Reveal())
		w.Leaf("kdpToken", h.Consent)
		w.Leaf("publicKey", publicKey)
		w.End()
	}
}

// frame reads the answer's head. Whom it is about stands only in the persons that follow.
func frame(root xmlsig.Element, iin gateway.IIN) (register.Frame, error) {
	if root.Local() != "data" {
		return register.Frame{}, errors.New("the answer is not the service's response")
	}
	for name, is := range map[string]register.Format{"messageId": register.String, "messageDate": register.DateTime, "requestId": register.String} {
		if !is(register.Text(root, "", name)) {
			return register.Frame{}, fmt.Errorf("%s is missing or not in its format", name)
		}
	}
	if err := coded(root, "sender", "receiver", "messageResult"); err != nil {
		return register.Frame{}, err
	}
	people, err := persons(root)
	if err != nil {
		return register.Frame{}, err
	}
	for _, p := range people {
		if register.Text(p, "", "iin") != iin.Reveal() {
			return register.Frame{}, errors.New("the answer is about another person")
		}
	}
	result, _ := root.Child("", "messageResult")
	return register.Frame{RequestID: register.Text(root, "", "requestId"), Result: register.Text(result, "", "code")}, nil
}

// record checks the one person. The service's answer holds far more than is used here, so other
// elements are let pass.
func record(root xmlsig.Element, kind gateway.RecordKind, _ gateway.IIN) (bool, error) {
	people, err := persons(root)
	if err != nil {
		return false, err
	}
	if len(people) != 1 {
		return false, fmt.Errorf("the answer holds %d persons, not one", len(people))
	}
	p := people[0]
	if !register.Date(register.Text(p, "", "birthDate")) {
		return false, errors.New("birthDate is missing or not in its format")
	}
	if err := coded(p, "gender", "nationality", "citizenship", "lifeStatus"); err != nil {
		return false, err
	}
	if kind == gateway.RecordAddress {
		a, ok := p.Child("", "regAddress")
		if !ok {
			return false, nil
		}
		return true, address(a)
	}
	if register.Text(p, "", "surname") == "" && register.Text(p, "", "name") == "" {
		return false, errors.New("the person has no name")
	}
	list, ok := p.Child("", "documents")
	if !ok {
		return false, nil
	}
	documents := slices.Collect(list.Children())
	for _, d := range documents {
		if err := document(d); err != nil {
			return false, err
		}
	}
	return len(documents) > 0, nil
}

func document(d xmlsig.Element) error {
	if !d.Is("", "document") {
		return errors.New("documents holds something else than documents")
	}
	if register.Text(d, "", "number") == "" || !register.Date(register.Text(d, "", "beginDate")) || !register.Date(register.Text(d, "", "birthDate")) {
		return errors.New("a document lacks number, beginDate or birthDate, or they are not in their format")
	}
	if end, ok := d.Child("", "endDate"); ok && !register.Date(end.Text()) {
		return errors.New("endDate is not in its format")
	}
	return coded(d, "type", "issueOrganization", "status")
}

func address(a xmlsig.Element) error {
	for _, name := range []string{"beginDate", "endDate"} {
		if d, ok := a.Child("", name); ok && !register.Date(d.Text()) {
			return fmt.Errorf("%s is not in its format", name)
		}
	}
	for range a.Children() {
		return nil
	}
	return errors.New("regAddress is empty")
}

// persons returns the persons of an answer, none when it has no list.
func persons(root xmlsig.Element) ([]xmlsig.Element, error) {
	list, ok := root.Child("", "persons")
	if !ok {
		return nil, nil
	}
	all := slices.Collect(list.Children())
	for _, p := range all {
		if !p.Is("", "person") {
			return nil, errors.New("persons holds something else than persons")
		}
	}
	return all, nil
}

// coded checks dictionary values: code, nameRu and nameKz.
func coded(el xmlsig.Element, names ...string) error {
	for _, name := range names {
		v, ok := el.Child("", name)
		if !ok {
			return fmt.Errorf("%s lacks %s", el.Local(), name)
		}
		if register.Text(v, "", "code") == "" {
			return fmt.Errorf("%s has no code", name)
		}
	}
	return nil
}
