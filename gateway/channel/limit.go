package channel

import (
	"crypto/sha256"
	"sync"
	"time"

	"egov-gateway/gateway"
)

// maxID bounds the ids that a sender makes, in bytes. SHEP's own are 36 long.
const maxID = 256

func errTooLarge(limit int) error {
	return gateway.Errorf(gateway.BodyTooLarge, "at most %d bytes are taken", limit)
}

// A replay remembers which content came under a message id, for as long as its date is inside the
// window. It only spares work and names a mistake early: what was done is told by the journal.
// Ids are kept as their SHA-256, so that its memory is bounded whatever senders call their messages.
type replay struct {
	life time.Duration
	max  int

	mu         sync.Mutex // guards all below
	turned     time.Time
	young, old map[[32]byte][32]byte
}

func newReplay(life time.Duration, max int) *replay {
	return &replay{life: life, max: max, young: map[[32]byte][32]byte{}}
}

// fits reports whether the id is new or came with the same content.
func (r *replay) fits(id string, content [32]byte, now time.Time) bool {
	key := sha256.Sum256([]byte(id))
	r.mu.Lock()
	defer r.mu.Unlock()
	if now.Sub(r.turned) >= r.life || len(r.young) >= r.max {
		r.old, r.young, r.turned = r.young, map[[32]byte][32]byte{}, now
	}
	was, ok := r.young[key]
	if !ok {
		was, ok = r.old[key]
	}
	if ok && was != content {
		return false
	}
	r.young[key] = content
	return true
}
