package journal_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"testing"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// An album is a store of n items in pages; it fails when the page with failAt items before it is asked for.
type album struct {
	n, failAt int
	asked     []journal.Query
}

var errStore = errors.New("the store failed")

func (a *album) List(ctx context.Context, q journal.Query) ([]journal.Item, string, error) {
	a.asked = append(a.asked, q)
	from, _ := strconv.Atoi(q.Cursor)
	if err := ctx.Err(); err != nil {
		return nil, "", err
	}
	if a.failAt > 0 && from >= a.failAt {
		return nil, "", errStore
	}
	var page []journal.Item
	for i := from; i < min(from+q.Limit, a.n); i++ {
		page = append(page, journal.Item{ID: gateway.RequestID(fmt.Sprint(i))})
	}
	if from+q.Limit < a.n {
		return page, strconv.Itoa(from + q.Limit), nil
	}
	return page, "", nil
}

func TestEach(t *testing.T) {
	errVisit := errors.New("the visitor has seen enough")
	over, cancel := context.WithCancel(t.Context())
	cancel()
	tests := []struct {
		name   string
		ctx    context.Context
		store  album
		cursor string
		stopAt string
		want   []string
		pages  int
		err    error
	}{
		{"an empty store is one page", t.Context(), album{n: 0}, "", "", nil, 1, nil},
		{"less than a page", t.Context(), album{n: 2}, "", "", []string{"0", "1"}, 1, nil},
		{"full pages, and none after the last", t.Context(), album{n: 6}, "", "", []string{"0", "1", "2", "3", "4", "5"}, 2, nil},
		{"the last page is not full", t.Context(), album{n: 7}, "", "", []string{"0", "1", "2", "3", "4", "5", "6"}, 3, nil},
		{"from the cursor of an earlier page", t.Context(), album{n: 7}, "3", "", []string{"3", "4", "5", "6"}, 2, nil},
		{"the store's error ends the walk after what was read", t.Context(), album{n: 7, failAt: 3}, "", "", []string{"0", "1", "2"}, 2, errStore},
		{"the visitor's error ends it inside a page", t.Context(), album{n: 7}, "", "4", []string{"0", "1", "2", "3", "4"}, 2, errVisit},
		{"nothing is visited when the time is over", over, album{n: 7}, "", "", nil, 1, context.Canceled},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var got []string
			err := journal.Each(tt.ctx, &tt.store, journal.Query{Shard: "zhambyl", State: gateway.StateParked, Cursor: tt.cursor, Limit: 3}, func(it journal.Item) error {
				got = append(got, string(it.ID))
				if string(it.ID) == tt.stopAt {
					return errVisit
				}
				return nil
			})
			if err != tt.err {
				t.Errorf("the walk ends with %v, want %v", err, tt.err)
			}
			if !slices.Equal(got, tt.want) {
				t.Errorf("visited %v, want %v", got, tt.want)
			}
			if len(tt.store.asked) != tt.pages {
				t.Errorf("%d pages were asked for, want %d", len(tt.store.asked), tt.pages)
			}
			for _, q := range tt.store.asked {
				if q.Shard != "zhambyl" || q.State != gateway.StateParked || q.Limit != 3 {
					t.Errorf("a page was asked for by %+v", q)
				}
			}
		})
	}
}
