package mint

import "sync"

// inOrder makes batches side by side and yields what is in them in their order, until total
// requests or more came.
func inOrder(workers, total int, batch func(i int) ([]Request, error), yield func(Request) error) error {
	if workers < 1 {
		workers = 1
	}
	type made struct {
		all []Request
		err error
	}
	stop := make(chan struct{})
	var wg sync.WaitGroup
	defer wg.Wait()
	defer close(stop)
	// A queue of slots keeps the order; each worker fills the slot that it took.
	slots := make(chan chan made, 4*workers)
	type task struct {
		i    int
		slot chan made
	}
	tasks := make(chan task)
	wg.Go(func() {
		defer close(tasks)
		for i := 0; ; i++ {
			slot := make(chan made, 1)
			select {
			case slots <- slot:
			case <-stop:
				return
			}
			select {
			case tasks <- task{i, slot}:
			case <-stop:
				return
			}
		}
	})
	for range workers {
		wg.Go(func() {
			for t := range tasks {
				all, err := batch(t.i)
				t.slot <- made{all, err}
			}
		})
	}
	for n := 0; n < total; {
		m := <-<-slots
		if m.err != nil {
			return m.err
		}
		for _, r := range m.all {
			if err := yield(r); err != nil {
				return err
			}
			n++
		}
	}
	return nil
}
