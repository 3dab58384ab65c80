package sqlitejournal

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
)

// schemaVersion is PRAGMA user_version of a file this code can use.
const schemaVersion = 6

// A migration takes a file from one version to the next, inside one transaction. Bodies it
// moves are synced before that commits.
type migration func(ctx context.Context, tx *sql.Tx, bodies *batch) error

// migrations leads from the version that is the key to the next one.
var migrations = map[int]migration{1: toSchema2, 2: toSchema3, 3: toSchema4, 4: toSchema5, 5: toSchema6}

// migrate brings the file to schemaVersion, one transaction for each version: a crash leaves
// it whole at one of them.
func (s *Store) migrate(version int) error {
	ctx := context.Background()
	for ; version < schemaVersion; version++ {
		step, ok := migrations[version]
		if !ok {
			return fmt.Errorf("journal: no way leads from schema %d to %d", version, schemaVersion)
		}
		tx, err := s.write.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		bodies := batch{s: s.segs}
		err = step(ctx, tx, &bodies)
		if err == nil {
			err = bodies.flush()
		}
		if err == nil {
			_, err = tx.ExecContext(ctx, fmt.Sprintf("PRAGMA user_version=%d", version+1))
		}
		if err == nil {
			err = tx.Commit()
		}
		if err != nil {
			tx.Rollback() //nolint:errcheck // the first error tells more
			return fmt.Errorf("journal: bring the schema from %d to %d: %w", version, version+1, err)
		}
	}
	return nil
}

// toSchema2 moves messages out of the database, where what was consumed keeps its digest only,
// and lets retention see what was closed before there was any.
func toSchema2(ctx context.Context, tx *sql.Tx, bodies *batch) error {
	_, err := tx.ExecContext(ctx, `PRAGMA secure_delete = 1;
		ALTER TABLE inbox RENAME TO inbox1;
		CREATE TABLE inbox (item INTEGER NOT NULL REFERENCES item(seq), key TEXT NOT NULL, n INTEGER NOT NULL, kind TEXT NOT NULL, at INTEGER NOT NULL,
			place BLOB NOT NULL, consumed INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (item, key)) STRICT;
		DROP INDEX item_wake;
		CREATE INDEX item_due ON item(shard, leased, wake) WHERE wake IS NOT NULL;
		ALTER TABLE heartbeat ADD COLUMN latest INTEGER NOT NULL DEFAULT 0;
		UPDATE heartbeat SET latest = (SELECT coalesce(max(updated), 0) FROM item);
		CREATE INDEX item_early ON item(citizen, seq) WHERE state IN ('accepted', 'enriched');
		CREATE TABLE erasure (segment INTEGER NOT NULL, offset INTEGER NOT NULL, length INTEGER NOT NULL, PRIMARY KEY (segment, offset)) STRICT, WITHOUT ROWID;
		UPDATE item SET wake = updated WHERE state = 'closed' AND wake IS NULL;`)
	if err != nil {
		return err
	}
	rows, err := tx.QueryContext(ctx, "SELECT item, key, body, consumed FROM inbox1")
	if err != nil {
		return err
	}
	defer rows.Close()
	type moved struct {
		item  int64
		key   string
		place []byte
	}
	var all []moved
	for rows.Next() {
		var (
			m        moved
			body     []byte
			consumed bool
		)
		if err := rows.Scan(&m.item, &m.key, &body, &consumed); err != nil {
			return err
		}
		var p place
		if consumed {
			p = placeOf(body).gone()
		} else {
			p = bodies.add(placeOf(body), body)
		}
		m.place = p.append(nil)
		all = append(all, m)
	}
	if err := errors.Join(rows.Err(), rows.Close()); err != nil {
		return err
	}
	for _, m := range all {
		if _, err := tx.ExecContext(ctx, "INSERT INTO inbox SELECT item, key, n, kind, at, ?, consumed FROM inbox1 WHERE item = ? AND key = ?", m.place, m.item, m.key); err != nil {
			return err
		}
	}
	_, err = tx.ExecContext(ctx, "DROP TABLE inbox1")
	return err
}

// toSchema3 makes room for what operators did and looked at.
func toSchema3(ctx context.Context, tx *sql.Tx, _ *batch) error {
	_, err := tx.ExecContext(ctx, `ALTER TABLE audit ADD COLUMN action TEXT NOT NULL DEFAULT '';
		ALTER TABLE audit ADD COLUMN subject TEXT NOT NULL DEFAULT '';
		ALTER TABLE audit ADD COLUMN shard TEXT NOT NULL DEFAULT '';
		CREATE INDEX audit_action ON audit(n) WHERE action <> '';`)
	return err
}

// toSchema4 finds the oldest entries of the audit, so that they can go when their time is over.
func toSchema4(ctx context.Context, tx *sql.Tx, _ *batch) error {
	_, err := tx.ExecContext(ctx, `CREATE INDEX audit_old_refusal ON audit(at) WHERE action = '';
		CREATE INDEX audit_old_action ON audit(at) WHERE action <> '';`)
	return err
}

// toSchema5 makes room for the keys of items. What is there stays in clear until it goes.
func toSchema5(ctx context.Context, tx *sql.Tx, _ *batch) error {
	_, err := tx.ExecContext(ctx, `ALTER TABLE item ADD COLUMN key_segment INTEGER NOT NULL DEFAULT 0;
		ALTER TABLE item ADD COLUMN key_offset INTEGER NOT NULL DEFAULT 0;
		CREATE TABLE data_key (id TEXT PRIMARY KEY, current INTEGER NOT NULL, opened INTEGER NOT NULL DEFAULT 0) STRICT;`)
	return err
}

// toSchema6 finds the oldest messages to a participant of one service.
func toSchema6(ctx context.Context, tx *sql.Tx, _ *batch) error {
	_, err := tx.ExecContext(ctx, "CREATE INDEX item_letter ON item(shard, state, service) WHERE "+letters)
	return err
}
