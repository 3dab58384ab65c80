package sqlitejournal

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"io"
)

// The writer talks to the driver itself: it is alone on its connection, so the locks, the
// copies and the bookkeeping that package database/sql adds to each statement are of no use to it.

// background: a statement inside the shared transaction is never cut short by one caller's
// context, because an interrupted statement may roll back the whole group.
var background = context.Background()

// A statement is one that the driver has prepared.
type statement interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

func (w *writing) prepared(query string) (statement, error) {
	if st, ok := w.s.stmt[query]; ok {
		return st, nil
	}
	made, err := w.conn.PrepareContext(background, query)
	if err != nil {
		return nil, engineError{err}
	}
	st, ok := made.(statement)
	if !ok {
		return nil, engineError{fmt.Errorf("the driver's %T takes no context", made)}
	}
	w.s.stmt[query] = st
	return st, nil
}

// values are a statement's arguments, which the driver does not keep.
func (w *writing) values(args []any) ([]driver.NamedValue, error) {
	all := w.s.args[:0]
	for i, a := range args {
		switch v := a.(type) {
		case nil, int64, string, []byte:
		case int:
			a = int64(v)
		default:
			return nil, engineError{fmt.Errorf("an argument of type %T", a)}
		}
		all = append(all, driver.NamedValue{Ordinal: i + 1, Value: a})
	}
	w.s.args = all
	return all, nil
}

// exec writes.
func (w *writing) exec(query string, args ...any) (driver.Result, error) {
	st, err := w.prepared(query)
	if err != nil {
		return nil, err
	}
	values, err := w.values(args)
	if err != nil {
		return nil, err
	}
	res, err := st.ExecContext(background, values)
	if err != nil {
		return nil, engineError{err}
	}
	return res, nil
}

// query calls each for every row.
func (w *writing) query(query string, each func(scanner) error, args ...any) (err error) {
	st, err := w.prepared(query)
	if err != nil {
		return err
	}
	values, err := w.values(args)
	if err != nil {
		return err
	}
	rows, err := st.QueryContext(background, values)
	if err != nil {
		return engineError{err}
	}
	defer func() {
		if e := rows.Close(); err == nil && e != nil {
			err = engineError{e}
		}
	}()
	columns := make(columns, len(rows.Columns()))
	for {
		if err := rows.Next(columns); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return engineError{err}
		}
		if err := each(columns); err != nil {
			return err
		}
	}
}

// errEnough ends a query.
var errEnough = errors.New("enough")

// row reads one row, or returns sql.ErrNoRows.
func (w *writing) row(query string, args ...any) scanner {
	var found scanner = failed{sql.ErrNoRows}
	err := w.query(query, func(from scanner) error {
		found = from
		return errEnough
	}, args...)
	if err != nil && err != errEnough {
		return failed{err}
	}
	return found
}

type failed struct{ err error }

func (f failed) Scan(...any) error { return f.err }

// columns are the values of one row. The driver makes each text and blob anew.
type columns []driver.Value

// Scan implements scanner for what the journal keeps.
func (c columns) Scan(dest ...any) error {
	if len(dest) != len(c) {
		return fmt.Errorf("%d columns, not %d", len(c), len(dest))
	}
	for i, d := range dest {
		ok := false
		switch d := d.(type) {
		case *int64:
			*d, ok = c[i].(int64)
		case *int:
			var n int64
			n, ok = c[i].(int64)
			*d = int(n)
		case *string:
			*d, ok = c[i].(string)
		case *[]byte:
			*d, ok = c[i].([]byte)
		case *sql.NullInt64:
			d.Int64, d.Valid = c[i].(int64)
			ok = d.Valid || c[i] == nil
		}
		if !ok {
			return fmt.Errorf("column %d is a %T, not for a %T", i+1, c[i], d)
		}
	}
	return nil
}
