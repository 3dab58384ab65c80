package sqlitejournal

import "egov-gateway/gateway"

// A Place is exported to the tests, which compare what is read with what encoding/json makes of it.
type Place = place

// QuickEvents reads events if they have the form that is read quickly.
func QuickEvents(array []byte) ([]gateway.Event, bool) {
	t := text{b: array, s: string(array)}
	return t.events()
}

// ReadEvents reads them in any form.
func ReadEvents(array []byte) ([]gateway.Event, error) { return readEvents(array) }

// QuickPlaces reads places if they have the form that is read quickly.
func QuickPlaces(object []byte) (map[string]Place, bool) {
	t := text{b: object, s: string(object)}
	all, ok := t.places()
	return all.named(), ok
}

// ReadPlaces reads them in any form.
func ReadPlaces(object []byte) (map[string]Place, error) {
	all, err := readPlaces(object)
	return all.named(), err
}

// WritePlaces puts them in and writes them.
func WritePlaces(m map[string]Place) ([]byte, error) {
	var all places
	for name, p := range m {
		all = all.with(name, p)
	}
	return all.encode()
}

func (all places) named() map[string]Place {
	m := map[string]Place{}
	for _, n := range all {
		m[n.name] = n.place
	}
	return m
}

// Remember changes about how many bytes of items the store remembers.
func (s *Store) Remember(bytes int) {
	s.memory.mu.Lock()
	defer s.memory.mu.Unlock()
	s.memory.limit = bytes
}

// PlaceIn is where a body in clear lies.
func PlaceIn(segment int, offset int64, body string) Place {
	p := placeOf([]byte(body))
	p.Segment, p.Offset = segment, offset
	return p
}

// About has a rekeying ask before each change on the disk.
func (r *Rekeying) About(ask func(change string) error) { r.about = ask }

// PruneAudit looks for what is to go, if it is time.
func (s *Store) PruneAudit() error { return s.pruneAudit() }

// ListQuery is the statement of a list.
var ListQuery = listQuery
