package console

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/browser"
	"egov-gateway/gateway/diagram"
	"egov-gateway/gateway/journal"
)

const pageSize = 50

// A Row is one request in a list.
type Row struct {
	ID       gateway.RequestID
	Version  int64
	Shard    string
	Service  string
	Provider string
	State    gateway.State
	Attempt  int
	Created  time.Time
	Updated  time.Time
	Wake     time.Time
	DueAt    time.Time
	Deadline gateway.DeadlineState
	Step     string         // the step at hand, with a region's requests
	StepDue  time.Time      //
	Reason   gateway.Reason // why it was parked
	From     gateway.State  // and from which state
	ParkedAt time.Time
}

func rowOf(it journal.Item, now time.Time) Row {
	row := Row{ID: it.ID, Version: it.Version, Shard: it.Shard, Service: it.Service, Provider: it.Provider, State: it.State, Attempt: it.Attempt, Created: it.Created, Updated: it.Updated, Wake: it.Wake}
	// What lies in a queue has no dossier.
	if d, err := gateway.ReadDossier(it.Doc); err == nil && !d.DueAt.IsZero() {
		row.DueAt, row.Deadline = d.DueAt, d.DeadlineAt(now)
		for _, s := range d.Steps {
			if s.CompletedAt.IsZero() && d.Result == nil {
				row.Step, row.StepDue = s.Code, s.DueAt
				break
			}
		}
	}
	for _, e := range slices.Backward(it.Events) {
		if e.Kind == gateway.EventParked && e.Subject != string(gateway.StateParked) {
			row.Reason, row.From, row.ParkedAt = e.Reason, gateway.State(e.Subject), e.At
			break
		}
	}
	return row
}

// choose returns the region that the address names, else the first that the operator sees.
func (c *Console) choose(v visit) (string, []string, error) {
	all := append(c.visible(v.operator), c.queues(v.operator)...)
	shard := v.r.URL.Query().Get("shard")
	if shard == "" && len(all) > 0 {
		shard = all[0]
	}
	if !slices.Contains(all, shard) {
		return "", nil, gateway.Errorf(gateway.OperatorForbidden, "the region is not visible to this operator")
	}
	return shard, all, nil
}

type requestsPage struct {
	Shard  string
	Shards []string
	State  gateway.State
	States []stateCount
	Rows   []Row
	Next   string // the address of the next page
	Now    time.Time
}

type stateCount struct {
	State gateway.State
	N     int
}

// requests lists a region's requests in one state, newest first.
func (c *Console) requests(v visit) error {
	shard, shards, err := c.choose(v)
	if err != nil {
		return err
	}
	q := v.r.URL.Query()
	state := gateway.State(q.Get("state"))
	if !slices.Contains(gateway.States, state) {
		state = gateway.StateDelivered
	}
	if err := c.note(v, ActionLook, "requests", shard, ""); err != nil {
		return err
	}
	st, err := c.stats(v.r.Context())
	if err != nil {
		return err
	}
	items, next, err := c.c.Journal.List(v.r.Context(), journal.Query{Shard: shard, State: state, Cursor: q.Get("cursor"), Limit: pageSize})
	if err != nil {
		return err
	}
	p := requestsPage{Shard: shard, Shards: shards, State: state, Now: c.c.Now()}
	for _, s := range gateway.States {
		p.States = append(p.States, stateCount{s, st.ByShard[shard][s]})
	}
	for _, it := range items {
		p.Rows = append(p.Rows, rowOf(it, p.Now))
	}
	if next != "" {
		p.Next = "/console/requests?" + url.Values{"shard": {shard}, "state": {string(state)}, "cursor": {next}}.Encode()
	}
	c.render(v, http.StatusOK, page{Name: "requests", Live: "shard " + shard, Data: p})
	return nil
}

// find leads to the request with an id. Nothing else is looked for: an IIN has no place here.
func (c *Console) find(v visit) error {
	id, err := gateway.ParseRequestID(strings.ToLower(strings.TrimSpace(v.r.PostForm.Get("id"))))
	if err != nil {
		// What was typed is not written down: it may be anything.
		if nerr := c.note(v, ActionFind, "", "", gateway.NotFound); nerr != nil {
			return nerr
		}
		return err
	}
	if err := c.note(v, ActionFind, string(id), "", ""); err != nil {
		return err
	}
	http.Redirect(v.w, v.r, "/console/requests/"+string(id), http.StatusSeeOther)
	return nil
}

// item returns a request that the operator may see; any other is not found, and that is written down.
func (c *Console) item(v visit, action string) (journal.Item, error) {
	id, err := gateway.ParseRequestID(v.r.PathValue("id"))
	if err != nil {
		return journal.Item{}, err
	}
	it, err := c.c.Journal.Get(v.r.Context(), id)
	if errors.Is(err, journal.ErrNotFound) {
		err = gateway.Errorf(gateway.NotFound, "no request has that id")
		return it, errors.Join(err, c.note(v, action, string(id), "", gateway.NotFound))
	}
	if err != nil {
		return it, err
	}
	if !c.sees(v.operator, it.Shard) {
		if err := c.note(v, action, string(id), it.Shard, gateway.OperatorForbidden); err != nil {
			return journal.Item{}, err
		}
		return journal.Item{}, gateway.Errorf(gateway.NotFound, "no request of this operator's regions has that id")
	}
	return it, c.note(v, action, string(id), it.Shard, "")
}

// sees reports whether the operator sees the shard, which must be one of this gateway's.
func (c *Console) sees(o *Operator, shard string) bool {
	return slices.Contains(c.visible(o), shard) || slices.Contains(c.queues(o), shard)
}

type requestPage struct {
	Row
	Dossier  *gateway.Dossier // nil for a message in a queue
	Portal   string
	Steps    []requestStep
	Events   []gateway.Event
	Bodies   []requestBody
	Retries  int
	MayAct   bool
	Language gateway.Language
}

type requestStep struct {
	gateway.StepPlan
	Name     gateway.Texts
	Deadline gateway.DeadlineState
}

type requestBody struct {
	Name string
	journal.BodyNote
}

// request shows one request: where it stands, how it came there, and what proves it. What the
// documents say is not shown.
func (c *Console) request(v visit) error {
	it, err := c.item(v, ActionView)
	if err != nil {
		return err
	}
	now := c.c.Now()
	p := requestPage{Row: rowOf(it, now), Portal: it.Portal, Events: it.Events, MayAct: v.operator.MayAct(it.Shard)}
	d, err := gateway.ReadDossier(it.Doc)
	if err == nil && d.Passport != "" {
		p.Dossier = d
		pass, perr := c.c.Forms.Version(d.Passport, d.Version)
		states := d.StepStates(now)
		for i, s := range d.Steps {
			one := requestStep{StepPlan: s, Deadline: states[i]}
			if perr == nil {
				step, _ := pass.Step(s.Code)
				one.Name = step.Name
			}
			one.Registration = nil // names an official
			p.Steps = append(p.Steps, one)
		}
	}
	for _, e := range it.Events {
		if e.Kind == gateway.EventRetry {
			p.Retries++
		}
	}
	for name, b := range it.Bodies {
		p.Bodies = append(p.Bodies, requestBody{name, b})
	}
	slices.SortFunc(p.Bodies, func(a, b requestBody) int { return strings.Compare(a.Name, b.Name) })
	c.render(v, http.StatusOK, page{Name: "request", Title: c.c.Texts.Text(v.lang, "console.request_title", string(it.ID)[:8]), Live: "request " + string(it.ID), Data: p})
	return nil
}

// way draws the request on the decree's diagram (R22).
func (c *Console) way(w http.ResponseWriter, r *http.Request) {
	v := visit{w: w, r: r, lang: c.language.Of(w, r)}
	h := w.Header()
	browser.Headers(h)
	if v.session = c.running(r, false); v.session == nil {
		http.Error(w, "sign in", http.StatusUnauthorized)
		return
	}
	// The page that holds the picture was written down.
	id, err := gateway.ParseRequestID(r.PathValue("id"))
	var it journal.Item
	if err == nil {
		it, err = c.c.Journal.Get(r.Context(), id)
	}
	if err != nil || !c.sees(v.operator, it.Shard) {
		http.Error(w, "not found", http.StatusNotFound)
		return
	}
	h.Set("Content-Type", "image/svg+xml; charset=utf-8")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'")
	w.Write([]byte(c.drawing(v.lang, it))) //nolint:errcheck // the client may be gone
}

func (c *Console) drawing(l gateway.Language, it journal.Item) string {
	d, err := gateway.ReadDossier(it.Doc)
	if err != nil {
		d = new(gateway.Dossier)
	}
	way := diagram.Way{Marks: diagram.Marks(it.State, d.Result != nil), Notes: map[string][]string{}, Text: func(key string) string { return c.c.Texts.Text(l, key) }}
	for node, at := range diagram.Times(d, it.Events) {
		way.Notes[node] = []string{c.c.Texts.DateTime(l, at)}
	}
	retries := map[string]int{}
	for _, e := range it.Events {
		if e.Kind == gateway.EventRetry {
			retries[nodeOf(e.Subject)]++
		}
	}
	for node, n := range retries {
		way.Notes[node] = append(way.Notes[node], c.c.Texts.Text(l, "console.tried_again", n))
	}
	if it.State == gateway.StateParked {
		way.Notes["process6"] = append(way.Notes["process6"], c.c.Texts.Text(l, "console.stopped"))
	}
	return diagram.Draw(way)
}

// nodeOf is the node of the diagram at which a step of the gateway works.
func nodeOf(step string) string {
	if step == "notify" {
		return "end"
	}
	return "process6"
}

// A known id is looked up for the parked page's reasons: a list holds no events.
func (c *Console) withEvents(ctx context.Context, items []journal.Item, now time.Time) ([]Row, error) {
	var rows []Row
	for _, it := range items {
		full, err := c.c.Journal.Get(ctx, it.ID)
		if errors.Is(err, journal.ErrNotFound) {
			continue
		}
		if err != nil {
			return nil, err
		}
		rows = append(rows, rowOf(full, now))
	}
	return rows, nil
}
