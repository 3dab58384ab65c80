package console

import (
	"net/http"
	"slices"
	"strings"
	"time"
)

// endingSoon is when a certificate's end shows on the first page.
const endingSoon = 30 * 24 * time.Hour

func (c *Console) systems(v visit) error {
	if err := c.note(v, ActionLook, "systems", "", ""); err != nil {
		return err
	}
	var all []System
	for _, s := range c.c.Systems() {
		if s.Shard == "" || v.operator.MayView(s.Shard) {
			all = append(all, s)
		}
	}
	slices.SortFunc(all, func(a, b System) int {
		return strings.Compare(a.Role+" "+a.Name, b.Role+" "+b.Name)
	})
	c.render(v, http.StatusOK, page{Name: "systems", Live: "systems", Data: all})
	return nil
}

func (c *Console) revocation(v visit) error {
	if err := c.note(v, ActionLook, "revocation", "", ""); err != nil {
		return err
	}
	c.render(v, http.StatusOK, page{Name: "revocation", Live: "systems", Data: c.c.Revocation()})
	return nil
}

// calendar lists the certificates, the first to end first.
func (c *Console) calendar() []Certificate {
	all := c.c.Certificates()
	slices.SortFunc(all, func(a, b Certificate) int { return a.NotAfter.Compare(b.NotAfter) })
	return all
}

func (c *Console) certificates(v visit) error {
	if err := c.note(v, ActionLook, "certificates", "", ""); err != nil {
		return err
	}
	c.render(v, http.StatusOK, page{Name: "certificates", Data: c.calendar()})
	return nil
}
