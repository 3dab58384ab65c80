package intake

import (
	"context"
	"errors"
	"net/http"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/admission"
	"egov-gateway/gateway/journal"
)

// A Progress is what a portal may know of a request: everything but the documents' content.
type Progress struct {
	ID           gateway.RequestID     `json:"id"`
	MessageID    string                `json:"message_id"`
	Service      string                `json:"service"`
	Shard        string                `json:"shard"`
	Provider     string                `json:"provider"`
	State        gateway.State         `json:"state"`
	StateText    gateway.Texts         `json:"state_text"`
	ReceivedAt   time.Time             `json:"received_at"`
	RegisteredAt time.Time             `json:"registered_at"`
	DueAt        time.Time             `json:"due_at"`
	Provisional  bool                  `json:"provisional,omitempty"` // see [gateway.Dossier]
	Admission    gateway.Verdict       `json:"admission"`
	Deadline     gateway.DeadlineState `json:"deadline"`
	Steps        []StepProgress        `json:"steps"`
	Records      []gateway.FactNote    `json:"records"`
	Result       *gateway.Result       `json:"result,omitempty"`
	ResultURL    string                `json:"result_url,omitempty"`
	Timeline     []gateway.Event       `json:"timeline"`
}

// A StepProgress is a step with how it stands to its limit.
type StepProgress struct {
	gateway.StepPlan
	Deadline gateway.DeadlineState `json:"deadline"`
}

// item returns a request of the asking portal; any other is not found.
func (d *Desk) item(ctx context.Context, portal, id string) (journal.Item, error) {
	parsed, err := gateway.ParseRequestID(id)
	if err != nil {
		return journal.Item{}, err
	}
	it, err := d.c.Journal.Get(ctx, parsed)
	if errors.Is(err, journal.ErrNotFound) || err == nil && it.Portal != portal {
		return journal.Item{}, gateway.Errorf(gateway.NotFound, "no request of this portal has that id")
	}
	return it, err
}

// known is the portal that asks, and its place, which is to be left. A stranger is refused and counted, as at
// every address of the door.
func (d *Desk) known(w http.ResponseWriter, r *http.Request) (portal string, place *admission.Place, ok bool) {
	start := time.Now()
	portal, err := d.authenticate(r)
	name := portal
	if err != nil {
		name = "none"
	} else {
		place, err = d.answers.Enter(portal, r.RemoteAddr)
	}
	if err != nil {
		d.observe(r.Context(), name, nil, err, false, start)
		admission.Dismiss(w, r)
		d.problem(w, r, err)
	}
	return portal, place, err == nil
}

func (d *Desk) get(w http.ResponseWriter, r *http.Request) {
	portal, place, ok := d.known(w, r)
	if !ok {
		return
	}
	defer place.Leave()
	p, err := d.Progress(r.Context(), portal, r.PathValue("id"))
	if err != nil {
		d.problem(w, r, err)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	writeJSON(w, http.StatusOK, p)
}

// Progress tells a portal how its request stands. The error carries [gateway.NotFound] for any
// other's.
func (d *Desk) Progress(ctx context.Context, portal, id string) (Progress, error) {
	it, err := d.item(ctx, portal, id)
	if err != nil {
		return Progress{}, err
	}
	dossier, err := gateway.ReadDossier(it.Doc)
	if err != nil {
		return Progress{}, err
	}
	zone := d.c.Forms.Calendar().Zone()
	p := Progress{
		ID: it.ID, MessageID: it.MessageID, Service: it.Service, Shard: it.Shard, Provider: it.Provider, State: it.State, StateText: d.c.Texts.All("state." + string(it.State)),
		ReceivedAt: dossier.ReceivedAt.In(zone), RegisteredAt: dossier.RegisteredAt.In(zone),
		DueAt: dossier.DueAt.In(zone), Provisional: dossier.Provisional,
		Deadline:  dossier.DeadlineAt(d.c.Now()),
		Admission: dossier.Admission, Records: dossier.Records, Result: dossier.Result, Timeline: it.Events,
	}
	for i, state := range dossier.StepStates(d.c.Now()) {
		p.Steps = append(p.Steps, StepProgress{dossier.Steps[i], state})
	}
	if p.Records == nil {
		p.Records = []gateway.FactNote{}
	}
	if p.Result != nil && it.State != gateway.StateErased {
		p.ResultURL = d.statusURL(it.ID) + "/result"
	}
	return p, nil
}

func (d *Desk) getReceipt(w http.ResponseWriter, r *http.Request) {
	d.body(w, r, gateway.BodyReceipt)
}
func (d *Desk) getResult(w http.ResponseWriter, r *http.Request) { d.body(w, r, gateway.BodyResult) }

func (d *Desk) body(w http.ResponseWriter, r *http.Request, name string) {
	portal, place, ok := d.known(w, r)
	if !ok {
		return
	}
	defer place.Leave()
	b, err := d.Document(r.Context(), portal, r.PathValue("id"), name)
	if err == nil {
		err = place.Reserve(int64(len(b))) // until the portal took it, which may be long
	}
	if err != nil {
		d.problem(w, r, err)
		return
	}
	w.Header().Set("Content-Type", "application/xml; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	w.Write(b) //nolint:errcheck // the client may be gone
}

// Document returns a document of a portal's own request: [gateway.BodyReceipt] or
// [gateway.BodyResult]. The error carries [gateway.NotFound] for any other's, and for one that is
// not there yet.
func (d *Desk) Document(ctx context.Context, portal, id, name string) ([]byte, error) {
	it, err := d.item(ctx, portal, id)
	if err != nil {
		return nil, err
	}
	b, err := d.c.Journal.Body(ctx, it.ID, name)
	switch {
	case errors.Is(err, journal.ErrNotFound):
		err = gateway.Errorf(gateway.NotFound, "the request has no such document yet")
	case errors.Is(err, journal.ErrErased):
		err = gateway.Errorf(gateway.Erased, "the time to keep it has passed")
	}
	return b, err
}
