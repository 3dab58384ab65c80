package sqlitejournal

import (
	"sync"

	"egov-gateway/gateway"
)

// A tally counts items by shard and state, so that nobody counts a million rows to answer a
// health check. It is read from the database at the start and follows each commit.
type tally struct {
	mu sync.Mutex
	n  map[string]map[gateway.State]int // guarded by mu
}

// A change is what one call did to the tally.
type change struct {
	shard string
	state gateway.State
	by    int
}

// count notes a change; it holds when the group's transaction does.
func (w *writing) count(shard string, state gateway.State, by int) {
	w.changes = append(w.changes, change{shard, state, by})
}

func (t *tally) apply(changes []change) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.n == nil {
		t.n = map[string]map[gateway.State]int{}
	}
	for _, c := range changes {
		if t.n[c.shard] == nil {
			t.n[c.shard] = map[gateway.State]int{}
		}
		t.n[c.shard][c.state] += c.by
	}
}

func (t *tally) copy() map[string]map[gateway.State]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make(map[string]map[gateway.State]int, len(t.n))
	for shard, states := range t.n {
		out[shard] = map[gateway.State]int{}
		for state, n := range states {
			if n != 0 {
				out[shard][state] = n
			}
		}
	}
	return out
}
