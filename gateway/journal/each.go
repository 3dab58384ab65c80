package journal

import "context"

// A Lister is the part of a [Store] that [Each] reads.
type Lister interface {
	// List returns a page of items in the order of q, and the cursor of the next one, "" at the end.
	List(ctx context.Context, q Query) ([]Item, string, error)
}

// Each visits every item that q selects, in the order of q, without events and bodies. It holds one
// page of q.Limit items at a time and begins at q.Cursor. The first error, of the store or of
// visit, ends the walk and is returned as it is.
//
// The walk is not a snapshot: every page is what was durable when it was read. An item that
// leaves the selection before its page comes is not visited, nor one that is created meanwhile;
// none is visited twice.
func Each(ctx context.Context, from Lister, q Query, visit func(Item) error) error {
	for {
		page, next, err := from.List(ctx, q)
		if err != nil {
			return err
		}
		for _, it := range page {
			if err := visit(it); err != nil {
				return err
			}
		}
		if next == "" {
			return nil
		}
		q.Cursor = next
	}
}
