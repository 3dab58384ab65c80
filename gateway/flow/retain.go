package flow

import (
	"context"
	"time"

	"egov-gateway/gateway"
)

// keepUntil is so many days after the request was closed, or turns of the short term of requests
// that nobody made.
func (w *work) keepUntil(days, turns int) time.Time {
	closed := w.dossier.ClosedAt
	if closed.IsZero() {
		closed = w.item.Updated // closed before retention was counted
		w.dossier.ClosedAt = closed
	}
	if short := w.pass.Retention.Short; short > 0 {
		return closed.Add(time.Duration(turns) * short)
	}
	return closed.AddDate(0, 0, days)
}

// retain keeps a closed request's documents for the passport's documents_days, the only place
// that decides it, and then erases them: bodies, attached copies, and what the dossier says of
// the person. The receipt, every digest and every verdict stay.
func (f *Flow) retain(_ context.Context, w *work) error {
	if until := w.keepUntil(w.pass.Retention.DocumentsDays, 1); w.now.Before(until) {
		w.out.Wake = until
		return nil
	}
	if err := f.c.Documents.Erase(w.item.ID); err != nil {
		return gateway.Errorf(gateway.JournalUnavailable, "erase the attached documents: %w", err)
	}
	for name, note := range w.item.Bodies {
		if name != gateway.BodyReceipt && !note.Erased {
			w.out.Erase = append(w.out.Erase, name)
		}
	}
	w.out.Bodies = nil
	w.dossier.Forget()
	w.event(gateway.Event{Kind: gateway.EventErased})
	w.out.State, w.out.Wake = gateway.StateErased, w.keepUntil(w.pass.Retention.ProofDays, 2)
	return nil
}

// remove keeps the proof for the passport's proof_days, and then nothing. What still arrives
// for an erased request is noted and not kept.
func (f *Flow) remove(_ context.Context, w *work) error {
	w.out.Bodies = nil
	w.dossier.Forget()
	if until := w.keepUntil(w.pass.Retention.ProofDays, 2); w.now.Before(until) {
		w.out.Wake = until
		return nil
	}
	w.out.Remove = true
	return nil
}
