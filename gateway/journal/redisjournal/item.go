package redisjournal

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"egov-gateway/gateway"
	"egov-gateway/gateway/journal"
)

// The keys of a journal all begin with prefix, whose braces make them one slot of a cluster.
// An index's member is an item's number, twelve digits, and its id.
const (
	keyItem    = "it:"  // hash: the item
	keyBodies  = "bo:"  // hash: its bodies by name, until they are archived
	keyInbox   = "in:"  // hash: n:key is a signal's note, b:key its body until it is consumed
	keyMessage = "ms:"  // the id of a message's item
	keyGone    = "go:"  // a removed item's mark, for as long as an accept journal may know it
	keyDue     = "due:" // by shard: unleased items by wake time, in microseconds
	keyLeased  = "lse:" // by shard: leased items by the end of the lease
	keyState   = "st:"  // by state and shard, in order of arrival
	keyLane    = "or:"  // by state and lane (shard, citizen, service), in order of arrival
	keyCitizen = "ci:"  // in order of arrival
	keyShards  = "shards"
	keySeq     = "seq"
	keyBeat    = "beat"
	keyAudit   = "audit"    // stream: refusals at the doors
	keyActions = "actions"  // stream: what operators did and looked at
	keyFinish  = "finished" // closed items with bodies, by the time of their last change
	keyStaged  = "staged"   // files written to the archive and not yet named by a note, by time
	keyTrash   = "trash"    // files of the archive that no note names any more
	keySweep   = "sweep"    // who archives now
)

// A head is what never changes of an item.
type head struct {
	Portal    string             `json:"portal"`
	MessageID string             `json:"message_id"`
	Citizen   journal.CitizenKey `json:"citizen"`
	Service   string             `json:"service"`
	Shard     string             `json:"shard"`
	Provider  string             `json:"provider"`
	Created   int64              `json:"created"` // microseconds
}

// An event is kept without its number, which is its place.
type event struct {
	Seq int `json:"seq,omitempty"`
	gateway.Event
}

// messageKey is the once-only key of a message.
func messageKey(portal, message string) string {
	sum := sha256.Sum256([]byte(strconv.Itoa(len(portal)) + ":" + portal + message))
	return hex.EncodeToString(sum[:])
}

// word makes a name fit between the colons of a key.
func word(s string) string { return url.QueryEscape(s) }

func unword(s string) string {
	name, err := url.QueryUnescape(s)
	if err != nil {
		return s
	}
	return name
}

func lane(shard string, citizen journal.CitizenKey, service string) string {
	return word(shard) + ":" + word(string(citizen)) + ":" + word(service)
}

// micro is an instant as the scripts get it: digits, because Lua would round them in words.
func micro(t time.Time) string { return strconv.FormatInt(t.UnixMicro(), 10) }

// wakeTime is "" when nothing is planned.
func wakeTime(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return micro(t)
}

func fromMicro(s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return time.UnixMicro(n).UTC(), err
}

// encodeEvents writes one event a line, so that a script can add to them.
func encodeEvents(events []gateway.Event) (string, error) {
	var b bytes.Buffer
	for i, e := range events {
		if i > 0 {
			b.WriteByte('\n')
		}
		line, err := json.Marshal(event{Event: e})
		if err != nil {
			return "", fmt.Errorf("journal: an event: %w", err)
		}
		b.Write(line)
	}
	return b.String(), nil
}

func decodeEvents(s string) ([]gateway.Event, error) {
	if s == "" {
		return nil, nil
	}
	lines := strings.Split(s, "\n")
	all := make([]gateway.Event, len(lines))
	for i, line := range lines {
		var e event
		if err := json.Unmarshal([]byte(line), &e); err != nil {
			return nil, fmt.Errorf("event %d: %w", i+1, err)
		}
		all[i] = e.Event
		all[i].Seq = i + 1
	}
	return all, nil
}

// A note says of a body what it was and where it lies: "sha256 size" in Redis, with " a file"
// in the archive, with " e" nowhere.
type note struct {
	journal.BodyNote
	file string // in the archive
}

func newNote(data []byte) note {
	return note{BodyNote: journal.BodyNote{SHA256: sha256.Sum256(data), Size: int64(len(data))}}
}

func (n note) String() string { return fmt.Sprintf("%x %d", n.SHA256, n.Size) }

func parseNote(s string) (n note, err error) {
	f := strings.SplitN(s, " ", 4)
	if len(f) < 2 {
		return n, errors.New("a body's note is damaged")
	}
	sum, err := hex.DecodeString(f[0])
	if err != nil || len(sum) != len(n.SHA256) {
		return n, errors.New("a body's note is damaged")
	}
	copy(n.SHA256[:], sum)
	if n.Size, err = strconv.ParseInt(f[1], 10, 64); err != nil {
		return n, fmt.Errorf("a body's note is damaged: %w", err)
	}
	switch {
	case len(f) == 2:
	case len(f) == 3 && f[2] == "e":
		n.Erased = true
	case len(f) == 4 && f[2] == "a":
		n.file = f[3]
	default:
		return n, errors.New("a body's note is damaged")
	}
	return n, nil
}

// decodeItem reads an item's hash; events are read when they are among the fields.
func decodeItem(id gateway.RequestID, h map[string]string) (journal.Item, error) {
	it, err := decode(id, h)
	if err != nil {
		return it, gateway.Errorf(gateway.JournalUnavailable, "request %s is damaged in Redis: %w", id, err)
	}
	return it, nil
}

func decode(id gateway.RequestID, h map[string]string) (it journal.Item, err error) {
	var first head
	if err := json.Unmarshal([]byte(h["head"]), &first); err != nil {
		return it, fmt.Errorf("head: %w", err)
	}
	it = journal.Item{ID: id, Portal: first.Portal, MessageID: first.MessageID, Citizen: first.Citizen, Service: first.Service, Shard: first.Shard, Provider: first.Provider,
		Created: time.UnixMicro(first.Created).UTC(), State: gateway.State(h["state"]), Doc: []byte(h["doc"])}
	content, err := hex.DecodeString(h["content"])
	if err != nil || len(content) != len(it.Content) {
		return it, errors.New("content")
	}
	copy(it.Content[:], content)
	if it.Version, err = strconv.ParseInt(h["version"], 10, 64); err != nil {
		return it, fmt.Errorf("version: %w", err)
	}
	if it.Attempt, err = strconv.Atoi(h["attempt"]); err != nil {
		return it, fmt.Errorf("attempt: %w", err)
	}
	if it.Updated, err = fromMicro(h["updated"]); err != nil {
		return it, fmt.Errorf("updated: %w", err)
	}
	if it.Wake, err = fromMicro(h["wake"]); err != nil {
		return it, fmt.Errorf("wake: %w", err)
	}
	if it.Events, err = decodeEvents(h["events"]); err != nil {
		return it, err
	}
	for name, s := range h {
		if name, ok := strings.CutPrefix(name, "b:"); ok {
			n, err := parseNote(s)
			if err != nil {
				return it, err
			}
			if it.Bodies == nil {
				it.Bodies = map[string]journal.BodyNote{}
			}
			it.Bodies[name] = n.BodyNote
		}
	}
	return it, nil
}

// A signalNote is what stays of a signal; its place in the order of arrival stands before it.
type signalNote struct {
	Kind   string `json:"kind"`
	At     int64  `json:"at"` // microseconds
	SHA256 string `json:"sha256"`
}

func decodeSignal(key, s string) (g journal.Signal, n int, err error) {
	number, rest, _ := strings.Cut(s, " ")
	var note signalNote
	if n, err = strconv.Atoi(number); err == nil {
		err = json.Unmarshal([]byte(rest), &note)
	}
	var sum []byte
	if err == nil {
		sum, err = hex.DecodeString(note.SHA256)
	}
	if err != nil || len(sum) != len(g.SHA256) {
		return g, 0, gateway.Errorf(gateway.JournalUnavailable, "a signal is damaged in Redis")
	}
	g = journal.Signal{Key: key, Kind: note.Kind, At: time.UnixMicro(note.At).UTC()}
	copy(g.SHA256[:], sum)
	return g, n, nil
}
