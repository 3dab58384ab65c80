package console

import (
	"cmp"
	"net/http"
	"slices"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

const (
	// refusalsRead bounds what the page of refusals is made from.
	refusalsRead = 4000
	hours        = 24
)

// A Refused is one reason, over the last hours.
type Refused struct {
	Reason gateway.Reason
	Total  int
	Last   time.Time
	Hours  [hours]int // the oldest first
	Bars   []hourBar
}

// An hourBar is one hour's bar in a small picture 20 high.
type hourBar struct{ X, Y, Height int }

type refusalsPage struct {
	Reasons []Refused
	Since   time.Time
	Total   int
	Cut     bool // there were more than were read
	Latest  []journal.AuditEntry
}

// refusals counts the refusals at the doors of the last day by reason and hour.
func (c *Console) refusals(v visit) error {
	if err := c.note(v, ActionLook, "refusals", "", ""); err != nil {
		return err
	}
	entries, err := c.c.Audit.Recent(v.r.Context(), refusalsRead)
	if err != nil {
		return err
	}
	now := c.c.Now()
	p := refusalsPage{Since: now.Add(-hours * time.Hour), Latest: entries[:min(len(entries), 15)]}
	by := map[gateway.Reason]*Refused{}
	for _, e := range entries {
		ago := int(now.Sub(e.At) / time.Hour)
		if e.At.Before(p.Since) || ago < 0 || ago >= hours {
			continue
		}
		r := by[e.Reason]
		if r == nil {
			r = &Refused{Reason: e.Reason, Last: e.At}
			by[e.Reason] = r
		}
		r.Total++
		r.Hours[hours-1-ago]++
		p.Total++
	}
	if n := len(entries); n == refusalsRead && entries[n-1].At.After(p.Since) {
		p.Cut, p.Since = true, entries[n-1].At
	}
	for _, r := range by {
		top := slices.Max(r.Hours[:])
		for i, n := range r.Hours {
			if n > 0 {
				h := max(2, n*20/top)
				r.Bars = append(r.Bars, hourBar{i * 6, 20 - h, h})
			}
		}
		p.Reasons = append(p.Reasons, *r)
	}
	slices.SortFunc(p.Reasons, func(a, b Refused) int { return cmp.Or(b.Total-a.Total, cmp.Compare(a.Reason, b.Reason)) })
	c.render(v, http.StatusOK, page{Name: "refusals", Live: "refusals", Data: p})
	return nil
}

// actions shows what operators did and looked at: one's own, and what concerns one's regions.
func (c *Console) actions(v visit) error {
	if err := c.note(v, ActionLook, "actions", "", ""); err != nil {
		return err
	}
	entries, err := c.c.Audit.Actions(v.r.Context(), 500)
	if err != nil {
		return err
	}
	entries = slices.DeleteFunc(entries, func(e journal.AuditEntry) bool {
		return e.Party != v.operator.Name && !v.operator.MayView(cmp.Or(e.Shard, Everywhere))
	})
	for i := range entries { // of another region's request its own operators learn, and nobody else
		if e := &entries[i]; e.Shard != "" && !v.operator.MayView(e.Shard) {
			e.Shard, e.Reason = "", gateway.NotFound
		}
	}
	c.render(v, http.StatusOK, page{Name: "actions", Data: entries[:min(len(entries), 200)]})
	return nil
}
