package statesim

import (
	"fmt"
	"strconv"
	"time"

	"github.com/beevik/etree"
)

// A system is one state information system.
type system struct {
	kinds []string
	typed bool // answers in a typed data element, else in escaped text
	// answer builds the business response; found is false when it says that there is no record.
	answer func(w *World, q question, c Citizen, known bool) (root *etree.Element, found bool)
}

const (
	nsMessage = "http://message.persistence.interactive.nat"
)

// systems are the six state systems by the last part of their path.
var systems = map[string]system{
	"gbdfl":          {kinds: []string{"identity", "address"}, typed: true, answer: answerPerson},
	"gbdrn":          {kinds: []string{"property"}, answer: standIn("rights", rights)},
	"socialpayments": {kinds: []string{"social-payments"}, answer: standIn("payments", payments)},
	"income":         {kinds: []string{"income"}, answer: standIn("incomes", incomes)},
	"alimony":        {kinds: []string{"alimony"}, answer: standIn("orders", orders)},
	"employment":     {kinds: []string{"unemployment"}, answer: standIn("unemployment", unemployment)},
}

// Systems lists the state systems in the order of the decree.
func Systems() []string {
	return []string{"gbdfl", "gbdrn", "socialpayments", "income", "alimony", "employment"}
}

func namespace(name string) string { return "urn:egov-gateway:register:" + name + ":1" }

// standIn builds an answer of schemas/registers/register.xsd: the frame, then one element that
// fill completes, or nothing when fill reports false.
func standIn(body string, fill func(w *World, el *etree.Element, c Citizen) bool) func(*World, question, Citizen, bool) (*etree.Element, bool) {
	return func(w *World, q question, c Citizen, known bool) (*etree.Element, bool) {
		record := etree.NewElement(body)
		found := known && fill(w, record, c)
		root := etree.NewElement("response")
		root.CreateAttr("xmlns", namespace(q.System))
		leaf(root, "messageId", newID())
		leaf(root, "messageDate", w.date())
		leaf(root, "requestId", q.MessageID)
		leaf(root, "iin", q.IIN)
		result(root.CreateElement("messageResult"), found)
		if found {
			root.AddChild(record)
		}
		return root, found
	}
}

func result(el *etree.Element, found bool) {
	if found {
		dictionary(el, "0", "Данные найдены", "Деректер табылды")
		return
	}
	dictionary(el, "1", "Данные не найдены", "Деректер табылмады")
}

func dictionary(el *etree.Element, code, ru, kz string) {
	leaf(el, "code", code)
	leaf(el, "nameRu", ru)
	leaf(el, "nameKz", kz)
}

// answerPerson is the response of ГБД ФЛ. It holds documents when the identity is asked for and
// the registered address when that is: no more than the consent covers.
func answerPerson(w *World, q question, c Citizen, known bool) (*etree.Element, bool) {
	root := etree.NewElement("data")
	root.CreateAttr("xmlns:ns3", nsMessage)
	root.CreateAttr("xmlns:xsi", nsXSI)
	root.CreateAttr("xsi:type", "ns3:Response")
	leaf(root, "messageId", newID())
	leaf(root, "messageDate", w.date())
	leaf(root, "requestId", q.MessageID)
	dictionary(root.CreateElement("sender"), "GBDFL", "ГБД ФЛ", "ЖТ МДҚ")
	dictionary(root.CreateElement("receiver"), q.sender, "Шлюз", "Шлюз")
	result(root.CreateElement("messageResult"), known)
	if !known {
		return root, false
	}
	surname := c.Surname
	if c.Level == Mistaken {
		surname = "ДРУГАЯ-" + surname
	}
	p := root.CreateElement("persons").CreateElement("person")
	leaf(p, "iin", c.IIN)
	leaf(p, "surname", surname)
	leaf(p, "name", c.Name)
	if c.Patronymic != "" {
		leaf(p, "patronymic", c.Patronymic)
	}
	leaf(p, "birthDate", birthDate(q.IIN))
	if q.IIN[6] == '1' {
		dictionary(p.CreateElement("gender"), "1", "МУЖСКОЙ", "ЕР")
	} else {
		dictionary(p.CreateElement("gender"), "2", "ЖЕНСКИЙ", "ӘЙЕЛ")
	}
	dictionary(p.CreateElement("nationality"), "999", "НЕ УКАЗАНА", "КӨРСЕТІЛМЕГЕН")
	country := func(el *etree.Element) { dictionary(el, "398", "КАЗАХСТАН", "ҚАЗАҚСТАН") }
	country(p.CreateElement("citizenship"))
	dictionary(p.CreateElement("lifeStatus"), "0", "Нормальный", "Қалыпты")
	country(p.CreateElement("birthPlace").CreateElement("country"))
	if q.Kind == "address" {
		a := p.CreateElement("regAddress")
		country(a.CreateElement("country"))
		dictionary(a.CreateElement("district"), "5910", "СЕВЕРО-КАЗАХСТАНСКАЯ", "СОЛТҮСТІК ҚАЗАҚСТАН")
		leaf(a, "city", "ПЕТРОПАВЛОВСК")
		leaf(a, "street", "УЛИЦА ПРИМЕРНАЯ")
		leaf(a, "building", strconv.Itoa(1+number(c.IIN, "building")%90))
		leaf(a, "flat", strconv.Itoa(1+number(c.IIN, "flat")%80))
		leaf(a, "beginDate", "2015-04-01")
		leaf(a, "arCode", fmt.Sprintf("%016d", number(c.IIN, "ar")))
		return root, true
	}
	d := p.CreateElement("documents").CreateElement("document")
	dictionary(d.CreateElement("type"), "002", "УДОСТОВЕРЕНИЕ РК", "ҚР ЖЕКЕ КУӘЛІГІ")
	leaf(d, "number", fmt.Sprintf("%09d", number(c.IIN, "document")%1_000_000_000))
	leaf(d, "beginDate", "2020-02-03")
	leaf(d, "endDate", "2030-02-02")
	dictionary(d.CreateElement("issueOrganization"), "002", "МВД РК", "ҚР ІІМ")
	dictionary(d.CreateElement("status"), "00", "ДОКУМЕНТ ДЕЙСТВИТЕЛЕН", "ҚҰЖАТ ЖАРАМДЫ")
	leaf(d, "birthDate", birthDate(q.IIN))
	return root, true
}

func rights(_ *World, el *etree.Element, c Citizen) bool {
	if c.Level == Dependant {
		return false
	}
	r := el.CreateElement("right")
	leaf(r, "cadastralNumber", fmt.Sprintf("15-234-%03d-%03d", number(c.IIN, "block")%1000, number(c.IIN, "plot")%1000))
	leaf(r, "objectKind", "flat")
	leaf(r, "territory", "591010000")
	leaf(r, "address", "Петропавловск, улица Примерная")
	leaf(r, "areaSquareMetres", fmt.Sprintf("%d.5", 38+number(c.IIN, "area")%40))
	leaf(r, "rightKind", "ownership")
	leaf(r, "share", "1/1")
	leaf(r, "registeredOn", "2015-04-01")
	return true
}

// months are the three before the world's current one, the period that the rules ask for.
func (w *World) months() []string {
	now := w.c.Now().In(almaty)
	first := time.Date(now.Year(), now.Month(), 1, 0, 0, 0, 0, almaty)
	var out []string
	for back := 3; back >= 1; back-- {
		out = append(out, first.AddDate(0, -back, 0).Format("2006-01"))
	}
	return out
}

func payments(w *World, el *etree.Element, c Citizen) bool {
	kind, base := "child-benefit", 18_000
	switch c.Level {
	case Jobless:
		kind, base = "targeted-social-aid", 42_000
	case High:
		return true // known, and paid nothing
	case Dependant:
		return false
	}
	for _, m := range w.months() {
		p := el.CreateElement("payment")
		leaf(p, "kind", kind)
		leaf(p, "month", m)
		leaf(p, "amount", strconv.Itoa(about(c.IIN, kind, base)))
	}
	return true
}

func incomes(w *World, el *etree.Element, c Citizen) bool {
	base := 85_000
	switch c.Level {
	case Jobless, Dependant:
		return false
	case High:
		base = 900_000
	}
	for _, m := range w.months() {
		i := el.CreateElement("income")
		leaf(i, "kind", "salary")
		leaf(i, "payerBin", "980149000044")
		leaf(i, "month", m)
		leaf(i, "amount", strconv.Itoa(about(c.IIN, "salary", base))+".00")
	}
	return true
}

func orders(_ *World, el *etree.Element, c Citizen) bool {
	if c.Level == Dependant || number(c.IIN, "alimony")%4 != 0 {
		return false
	}
	o := el.CreateElement("order")
	leaf(o, "number", fmt.Sprintf("2-%d/2024", 1+number(c.IIN, "order")%9000))
	leaf(o, "court", "Петропавловский городской суд")
	leaf(o, "role", "recipient")
	leaf(o, "dependants", "1")
	leaf(o, "monthlyAmount", strconv.Itoa(about(c.IIN, "alimony-amount", 25_000)))
	leaf(o, "since", "2024-06-01")
	return true
}

func unemployment(w *World, el *etree.Element, c Citizen) bool {
	if c.Level == Dependant {
		return false
	}
	registered := c.Level == Jobless
	leaf(el, "registered", strconv.FormatBool(registered))
	if registered {
		leaf(el, "registeredOn", "2026-05-12")
		leaf(el, "centre", "Центр занятости населения города Петропавловска")
	}
	leaf(el, "checkedOn", w.c.Now().In(almaty).Format(time.DateOnly))
	return true
}
