package statesim

import (
	"hash/fnv"
)

// bornIn1800s reports whether an IIN has the century digit of the 19th century, so that it can
// belong to nobody alive.
func bornIn1800s(iin string) bool {
	if len(iin) != 12 {
		return false
	}
	for i := range len(iin) {
		if iin[i] < '0' || iin[i] > '9' {
			return false
		}
	}
	return iin[6] == '1' || iin[6] == '2'
}

// person returns the citizen of that IIN. One that the configuration does not list is made up
// from the number, always the same; one born after the 1800s is nobody here.
func (w *World) person(iin string) (Citizen, bool) {
	c, ok := w.citizens[iin]
	if !ok {
		if !bornIn1800s(iin) {
			return Citizen{IIN: iin}, false
		}
		n := number(iin, "name")
		surnames := []string{"СЫНАҚОВ", "ТЕСТОВ", "ҮЛГІБАЕВ", "ПРИМЕРОВ"}
		names := []string{"ӘЛИ", "БОРИС", "ӨМІР", "ТИМУР"}
		c = Citizen{IIN: iin, Surname: surnames[n%4], Name: names[n/4%4], Level: Dependant}
		if iin[6] == '2' {
			c.Surname += "А"
			c.Name = []string{"ӘСЕМ", "ВЕРА", "ҚЫМБАТ", "ЮЛИЯ"}[n/4%4]
		}
	}
	if c.Level == "" {
		c.Level = Low
	}
	return c, c.Level != Absent
}

// number is a number that depends on nothing but iin and what it is for.
func number(iin, what string) int {
	h := fnv.New32a()
	h.Write([]byte(iin + "/" + what))
	return int(h.Sum32() >> 1)
}

// about returns an amount of base tenge, up to a tenth more, always the same for one citizen.
func about(iin, what string, base int) int { return base + number(iin, what)%(base/10+1) }

// birthDate is the date that the IIN names.
func birthDate(iin string) string { return "18" + iin[:2] + "-" + iin[2:4] + "-" + iin[4:6] }
