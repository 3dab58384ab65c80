package console

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// MaxOrder is how many requests one order sets going again; what is left is there for the next.
const MaxOrder = 200

type parkedPage struct {
	Shard            string
	Shards           []string
	Provider, Reason string
	Providers        []string
	Reasons          []gateway.Reason
	Rows             []Row
	More             bool
	MayAct           bool
	Next             string
}

// selection walks parked requests of a shard that provider and reason leave, at most limit, from
// a cursor. It looks at no more than four times limit of them.
func (c *Console) selection(ctx context.Context, shard, provider, reason, cursor string, limit int) (rows []Row, next string, err error) {
	for seen := 0; len(rows) < limit && seen < 4*limit; {
		items, after, err := c.c.Journal.List(ctx, journal.Query{Shard: shard, State: gateway.StateParked, Cursor: cursor, Limit: min(pageSize, limit-len(rows))})
		if err != nil {
			return nil, "", err
		}
		seen += len(items)
		if provider != "" {
			items = slices.DeleteFunc(items, func(it journal.Item) bool { return it.Provider != provider })
		}
		more, err := c.withEvents(ctx, items, c.c.Now())
		if err != nil {
			return nil, "", err
		}
		for _, row := range more {
			if row.State == gateway.StateParked && (reason == "" || string(row.Reason) == reason) {
				rows = append(rows, row)
			}
		}
		if cursor = after; cursor == "" {
			return rows, "", nil
		}
	}
	return rows, cursor, nil
}

// parked lists what waits for an operator, with why.
func (c *Console) parked(v visit) error {
	shard, shards, err := c.choose(v)
	if err != nil {
		return err
	}
	if err := c.note(v, ActionLook, "parked", shard, ""); err != nil {
		return err
	}
	q := v.r.URL.Query()
	p := parkedPage{Shard: shard, Shards: shards, Provider: q.Get("provider"), Reason: q.Get("reason"), MayAct: v.operator.MayAct(shard)}
	var next string
	if p.Rows, next, err = c.selection(v.r.Context(), shard, p.Provider, p.Reason, q.Get("cursor"), pageSize); err != nil {
		return err
	}
	for _, row := range p.Rows {
		if !slices.Contains(p.Providers, row.Provider) {
			p.Providers = append(p.Providers, row.Provider)
		}
		if row.Reason != "" && !slices.Contains(p.Reasons, row.Reason) {
			p.Reasons = append(p.Reasons, row.Reason)
		}
	}
	if p.Provider != "" && !slices.Contains(p.Providers, p.Provider) {
		p.Providers = append(p.Providers, p.Provider)
	}
	if r := gateway.Reason(p.Reason); p.Reason != "" && !slices.Contains(p.Reasons, r) {
		p.Reasons = append(p.Reasons, r)
	}
	slices.Sort(p.Providers)
	slices.Sort(p.Reasons)
	if next != "" {
		p.Next = "/console/parked?" + url.Values{"shard": {shard}, "provider": {p.Provider}, "reason": {p.Reason}, "cursor": {next}}.Encode()
	}
	c.render(v, http.StatusOK, page{Name: "parked", Live: "shard " + shard, Data: p})
	return nil
}

type previewPage struct {
	Shard            string
	Provider, Reason string
	Rows             []Row
	Orders           []string // id/version of each, as the order names them
	More             bool     // the selection holds more than one order takes
	Gone             int      // named, and not parked any more
}

// preview shows what an order would do, before it is given.
func (c *Console) preview(v visit) error {
	f := v.r.PostForm
	p := previewPage{Shard: f.Get("shard"), Provider: f.Get("provider"), Reason: f.Get("reason")}
	if err := c.allowed(v, ActionPreview, p.Shard); err != nil {
		return err
	}
	var err error
	if f.Get("all") != "" {
		var next string
		p.Rows, next, err = c.selection(v.r.Context(), p.Shard, p.Provider, p.Reason, "", MaxOrder)
		p.More = next != ""
	} else {
		var items []journal.Item
		for _, s := range f["id"] {
			id, perr := gateway.ParseRequestID(s)
			if perr != nil || len(items) == MaxOrder {
				return gateway.Errorf(gateway.FormForged, "the order names what is no request, or too much")
			}
			items = append(items, journal.Item{ID: id})
		}
		var rows []Row
		if rows, err = c.withEvents(v.r.Context(), items, c.c.Now()); err == nil {
			for _, row := range rows {
				if row.State != gateway.StateParked || row.Shard != p.Shard {
					p.Gone++
					continue
				}
				p.Rows = append(p.Rows, row)
			}
		}
	}
	if err != nil {
		return err
	}
	for _, row := range p.Rows {
		p.Orders = append(p.Orders, string(row.ID)+"/"+strconv.FormatInt(row.Version, 10))
	}
	c.render(v, http.StatusOK, page{Name: "preview", Data: p})
	return nil
}

func (c *Console) allowed(v visit, action, shard string) error {
	if c.sees(v.operator, shard) && v.operator.MayAct(shard) {
		return c.note(v, action, "", shard, "")
	}
	if err := c.note(v, action, "", shard, gateway.OperatorForbidden); err != nil {
		return err
	}
	return gateway.Errorf(gateway.OperatorForbidden, "the operator gives no orders in this region")
}

// A Redriven is the outcome of one order.
type Redriven struct {
	ID     gateway.RequestID
	Reason gateway.Reason // why it was not set going; "" when it was
}

// redrive gives the order that the preview showed: only for what is parked still in the version shown.
func (c *Console) redrive(v visit) error {
	orders := v.r.PostForm["order"]
	if len(orders) == 0 || len(orders) > MaxOrder {
		return gateway.Errorf(gateway.FormForged, "the order names nothing, or too much")
	}
	var done []Redriven
	for _, s := range orders {
		name, number, _ := strings.Cut(s, "/")
		id, err := gateway.ParseRequestID(name)
		version, verr := strconv.ParseInt(number, 10, 64)
		if err != nil || verr != nil {
			return gateway.Errorf(gateway.FormForged, "the order names what is no request")
		}
		reason, err := c.redriveOne(v, id, version)
		if err != nil {
			return err
		}
		done = append(done, Redriven{id, reason})
	}
	c.render(v, http.StatusOK, page{Name: "redriven", Data: done})
	return nil
}

func (c *Console) redriveOne(v visit, id gateway.RequestID, version int64) (gateway.Reason, error) {
	it, err := c.c.Journal.Get(v.r.Context(), id)
	if err != nil {
		return gateway.NotFound, c.note(v, ActionRedrive, string(id), "", gateway.NotFound)
	}
	refused := gateway.Reason("")
	switch {
	case !c.sees(v.operator, it.Shard) || !v.operator.MayAct(it.Shard):
		refused = gateway.OperatorForbidden
	case it.State != gateway.StateParked || it.Version != version:
		refused = gateway.ReplayConflict
	}
	if err := c.note(v, ActionRedrive, string(id), it.Shard, refused); err != nil || refused != "" {
		if !c.sees(v.operator, it.Shard) {
			refused = gateway.NotFound // whether another region has it is not for this operator
		}
		return refused, err
	}
	if err := c.c.Redrive(v.r.Context(), id, version); err != nil {
		c.c.Log.Error("redrive", "request", string(id), "reason", string(gateway.ReasonOf(err)), "error", err)
		return gateway.ReasonOf(err), nil
	}
	c.c.Log.Info("redriven", "request", string(id), "operator", v.operator.Name)
	return "", nil
}
