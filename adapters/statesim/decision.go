package statesim

import (
	"fmt"
	"math"
	"strconv"
	"strings"

	"github.com/beevik/etree"
)

// A decision is the content of a result: an amount, or the ground of a refusal.
type decision struct {
	amount     float64 // tenge a month
	ground     string  // "" for an assignment
	outcome    string  // of an answer to a complaint
	kk, ru, en string  // explanation of a refusal or an answer
}

// maxShare is the part of its income that a family pays for housing itself.
const maxShare = 0.10

// decide judges a request by the delivered records.
//
// Identity or address that the registers do not confirm is the ground data-unreliable. Income
// above the threshold for each family member, or enough to carry the costs, is the ground
// income-above-threshold. Otherwise the aid is the cost of housing minus the family's share.
func (w *World) decide(d delivery) decision {
	if d.service == complaint {
		return decision{outcome: "partly",
			kk: "Шағым қаралды, өтініш қайта қаралады.",
			ru: "Жалоба рассмотрена, заявление будет рассмотрено повторно.",
			en: "The complaint was examined; the request will be examined again."}
	}
	applicant := path(d.request, nsRequest, "applicant")
	iin := text(applicant, "iin")
	income := 0.0 // a month, of the family
	for _, r := range d.records {
		switch r.kind {
		case "identity":
			if r.status == "no-data" {
				return unreliable()
			}
			p := personOf(r.data)
			if p != nil && text(p, "iin") == iin && (!strings.EqualFold(text(p, "surname"), text(applicant, "surname")) || !strings.EqualFold(text(p, "name"), text(applicant, "givenName"))) {
				return unreliable()
			}
		case "address":
			if r.status == "no-data" {
				return unreliable()
			}
			if p := personOf(r.data); p != nil && text(path(p, "", "regAddress"), "endDate") != "" {
				return unreliable()
			}
		case "income", "social-payments":
			income += total(r.data, "amount") / 3 // three months are asked for
		case "alimony":
			if r.data != nil {
				for _, o := range r.data.FindElements("//order") {
					if text(o, "role") == "recipient" {
						income += amount(text(o, "monthlyAmount"))
					}
				}
			}
		}
	}
	family := 1
	if f := path(d.request, nsRequest, "family"); f != nil {
		family += len(f.ChildElements())
	}
	cost := 20_000.0
	if h := path(d.request, nsRequest, "housing"); h != nil {
		cost = amount(text(h, "monthlyCost"))
	}
	aid := math.Round((cost-maxShare*income)*100) / 100
	if income/float64(family) > w.c.IncomeThreshold || aid <= 0 {
		return decision{ground: "income-above-threshold",
			kk: "Отбасының табысы тұрғын үйді күтіп-ұстау шығыстарын өтеуге жеткілікті.",
			ru: "Доход семьи достаточен для оплаты содержания жилища.",
			en: "The family's income is enough to pay for its housing."}
	}
	return decision{amount: aid}
}

func unreliable() decision {
	return decision{ground: "data-unreliable",
		kk: "Өтініште көрсетілген деректер мемлекеттік ақпараттық жүйелердің мәліметтерімен расталмады.",
		ru: "Данные, указанные в заявлении, не подтверждены сведениями государственных информационных систем.",
		en: "The data in the request were not confirmed by the state information systems."}
}

// personOf returns the person in an answer of ГБД ФЛ, nil for none.
func personOf(data *etree.Element) *etree.Element {
	if data == nil {
		return nil
	}
	return path(data, "", "persons", "", "person")
}

func total(data *etree.Element, name string) float64 {
	sum := 0.0
	if data != nil {
		for _, el := range data.FindElements("//" + name) {
			sum += amount(strings.TrimSpace(el.Text()))
		}
	}
	return sum
}

func amount(s string) float64 {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || f < 0 || f > 1e9 {
		return 0
	}
	return f
}

// word is the decision as the world's state tells it.
func (d decision) word() string {
	if d.ground != "" {
		return "refusal: " + d.ground
	}
	if d.outcome != "" {
		return "answer: " + d.outcome
	}
	return fmt.Sprintf("assignment: %.2f", d.amount)
}
